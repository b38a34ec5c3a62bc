"""Third-party example data lies beside the repository and is never copied in; tests that need it skip where it is absent."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    path = Path(__file__).resolve().parents[3].parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the example data is not here")
    return path
