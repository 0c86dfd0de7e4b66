"""Certificates for pools in tests, made with the openssl command: good ones, and ones with a fault."""

import shutil
import subprocess
from pathlib import Path

import pytest

OPENSSL = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="needs the openssl command")


def make_certificate(
    folder: Path, subject: str = "IP:127.0.0.1", *, is_expired: bool = False
) -> tuple[Path, Path]:
    """A certificate that is its own CA, for `subject` as in a subjectAltName, and its key."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    run_openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", "/CN=pool", "-addext", f"subjectAltName={subject}", "-keyout", str(key), "-out", str(certificate),
    )  # fmt: skip
    if is_expired:
        old = folder / "old.pem"
        run_openssl("x509", "-in", str(certificate), "-signkey", str(key), "-days", "-1", "-out", str(old))
        old.replace(certificate)
    return certificate, key


def run_openssl(*arguments: str) -> None:
    subprocess.run([str(OPENSSL), *arguments], check=True, capture_output=True)
