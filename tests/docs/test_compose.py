"""docker-compose.test.yml is valid and names only servers on the loopback interface; with a Docker engine it is checked by the engine too."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

FILE = Path(__file__).parents[2] / "docker-compose.test.yml"


def test_every_service_has_an_image_and_loopback_ports() -> None:
    services = yaml.safe_load(FILE.read_text())["services"]
    assert services
    for name, service in services.items():
        assert service["image"].count(":") == 1, f"{name}: an image has a version"
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_the_engine_accepts_it() -> None:
    if shutil.which("docker") is None or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker compose is not installed")
    done = subprocess.run(["docker", "compose", "-f", FILE, "config", "-q"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
