import os
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from miner.stratum.tls import Certificate, TlsError

OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(OPENSSL is None, reason="needs the openssl command")


def make_certificate(folder: Path, name: str = "miner.test") -> tuple[Path, Path]:
    """A self-signed certificate with its key."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [str(OPENSSL), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


def subject_of(certificate: Certificate) -> str:
    """The name that a new connection is shown."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_context = ssl.create_default_context()
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    server = certificate.context.wrap_bio(incoming, outgoing, server_side=True)
    client = client_context.wrap_bio(outgoing, incoming)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    shown = client.getpeercert(binary_form=True)
    assert shown is not None
    text = subprocess.run(
        [str(OPENSSL), "x509", "-inform", "DER", "-noout", "-subject"],
        input=shown,
        check=True,
        capture_output=True,
    )
    return text.stdout.decode().strip().rpartition(" ")[2].rpartition("=")[2]


def test_nothing_older_than_tls_1_2_is_spoken(tmp_path: Path) -> None:
    assert Certificate(*make_certificate(tmp_path)).context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_renewed_certificate_is_shown_to_new_connections(tmp_path: Path) -> None:
    certificate = Certificate(*make_certificate(tmp_path, "old.test"))
    assert subject_of(certificate) == "old.test"
    make_certificate(tmp_path, "new.test")
    assert [certificate.refresh(), certificate.refresh()] == [False, True]
    assert subject_of(certificate) == "new.test"
    assert not certificate.refresh()


def test_files_that_still_change_are_left_alone(tmp_path: Path) -> None:
    files = make_certificate(tmp_path)
    certificate = Certificate(*files)
    for second in (1, 2, 3):
        os.utime(files[0], (second, second))
        assert not certificate.refresh()
    assert certificate.refresh()


def test_a_renewal_that_cannot_be_used_leaves_the_old_certificate_in_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, key = make_certificate(tmp_path, "old.test")
    certificate = Certificate(file, key)
    key.write_text("no key")
    certificate.refresh()
    assert not certificate.refresh()
    assert "no certificate with its unencrypted key" in certificate.error
    assert subject_of(certificate) == "old.test"
    assert [record.message for record in caplog.records] == ["certificate_refused"]
    certificate.refresh()
    assert len(caplog.records) == 1
    make_certificate(tmp_path, "new.test")
    certificate.refresh()
    assert certificate.refresh()
    assert certificate.error == ""


def test_a_missing_file_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match=r"nowhere\.pem.*No such file"):
        Certificate(tmp_path / "nowhere.pem", tmp_path / "key.pem")


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(tmp_path: Path) -> None:
    file, key = make_certificate(tmp_path)
    subprocess.run(
        [str(OPENSSL), "pkcs8", "-topk8", "-v2", "aes256", "-passout", "pass:secret", "-in", str(key), "-out", str(key) + ".enc"],
        check=True, capture_output=True,
    )  # fmt: skip
    with pytest.raises(TlsError, match="unencrypted key"):
        Certificate(file, Path(str(key) + ".enc"))
