from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from miner.config_values import (
    Address,
    Bounds,
    CoinbaseTag,
    FilePath,
    LedgerUrl,
    Listen,
    OptionalFilePath,
    RpcUrl,
    ShareDifficulty,
    TapeStart,
    Threads,
    VersionMask,
    ZmqUrl,
)


def value(kind: Any, given: object, folder: Path | None = None) -> Any:
    return TypeAdapter(kind).validate_python(given, context=folder and {"folder": folder})


def refused(kind: Any, given: object) -> str:
    with pytest.raises(ValidationError) as error:
        value(kind, given)
    return str(error.value.errors()[0]["msg"]).removeprefix("Value error, ")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8332", "https://node.example:443", "http://[::1]:18443"])
def test_a_node_is_found_by_host_and_port(url: str) -> None:
    assert value(RpcUrl, url) == url
    assert value(RpcUrl, url + "/") == url


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("127.0.0.1:8332", "http://"),
        ("ftp://127.0.0.1:8332", "http://"),
        ("http://127.0.0.1", "8332 main"),
        ("http://127.0.0.1:0", "needs a port"),
        ("http://127.0.0.1:99999", "no URL"),
        ("http://127.0.0.1:port", "no URL"),
        ("http://[::1:8332", "no URL"),
        ("http://127.0.0.1:8332/wallet/x", "end after the port"),
        ("http://127.0.0.1:8332?x", "end after the port"),
        ("", "http://"),
    ],
)
def test_a_node_without_a_usable_url_is_refused(url: str, word: str) -> None:
    assert word in refused(RpcUrl, url)


@pytest.mark.parametrize(
    "url", ["http://me:hunter2@127.0.0.1:8332", "http://me:hunter2@host:99999", "me:hunter2@x"]
)
def test_a_password_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    message = refused(RpcUrl, url)
    assert "rpc_password_file" in message
    assert "hunter2" not in message


def test_zmq_is_tcp_with_a_port_or_a_socket_file() -> None:
    assert value(ZmqUrl, "tcp://127.0.0.1:28332") == "tcp://127.0.0.1:28332"
    assert value(ZmqUrl, "ipc:///run/bitcoind.sock") == "ipc:///run/bitcoind.sock"
    for wrong in (
        "127.0.0.1:28332",
        "tcp://127.0.0.1",
        "http://127.0.0.1:28332",
        "ipc://",
        "tcp://h:1/x",
        "tcp://[x",
    ):
        assert "tcp://127.0.0.1:28332" in refused(ZmqUrl, wrong)


def test_one_listens_on_host_and_port_or_not_at_all() -> None:
    for fine in ("", "127.0.0.1:8340", "localhost:1", "[::1]:8340"):
        assert value(Listen, fine) == fine
    assert "must look like" in refused(Listen, "8340")
    assert "must look like" in refused(Listen, "localhost:http")
    assert "between 1 and 65535" in refused(Listen, "localhost:70000")
    assert "brackets" in refused(Listen, "::1:8340")
    assert refused(Listen, "[::g]:8340")


def test_an_address_is_letters_and_digits_and_judged_by_the_node_alone() -> None:
    assert value(Address, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")
    assert "is empty" in refused(Address, "")
    assert "no bitcoin address" in refused(Address, "bc1q w508d6qejxtdg4")
    assert "no bitcoin address" in refused(Address, "short")


def test_a_tag_fits_into_the_coinbase() -> None:
    assert value(CoinbaseTag, "") == ""
    assert value(CoinbaseTag, "x" * 60)
    assert "61 bytes" in refused(CoinbaseTag, "x" * 61)
    assert "62 bytes" in refused(CoinbaseTag, "ü" * 31)
    assert "printable" in refused(CoinbaseTag, "a\nb")


def test_a_version_mask_is_eight_digits_and_leaves_what_marks_a_version() -> None:
    assert value(VersionMask, "1FFFE000") == "1fffe000"
    assert value(VersionMask, "00000000") == "00000000"
    assert value(VersionMask, "1fffffff") == "1fffffff"
    for wrong in ("", "1fffe0", "0x1fffe0", "1fffe0000", "1fffe00g", " 1fffe00"):
        assert "8 hexadecimal digits" in refused(VersionMask, wrong)
    for wide in ("20000000", "ffffffff", "3fffe000"):
        assert "three highest bits" in refused(VersionMask, wide)


def test_the_ledger_is_a_file_seen_from_the_folder(tmp_path: Path) -> None:
    assert value(LedgerUrl, "sqlite:///x.db", tmp_path) == f"sqlite:///{tmp_path}/x.db"
    assert value(LedgerUrl, "sqlite:////var/lib/x.db", tmp_path) == "sqlite:////var/lib/x.db"


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///x.db?mode=memory", "x.db"]
)
def test_a_ledger_that_would_not_last_is_refused(url: str) -> None:
    assert refused(LedgerUrl, url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me@db/x",
        "postgresql+psycopg://me@db:5432/x?sslmode=require",
        "postgresql+psycopg:///x?host=/run/postgresql",
        "postgresql+psycopg://[::1]:5432/x",
    ],
)
def test_the_ledger_may_be_a_postgresql_database(url: str) -> None:
    assert value(LedgerUrl, url) == url


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@db/x",
        "postgres://me:hunter2@db/x",
        "postgresql+asyncpg://me:hunter2@db/x",
        "postgresql+psycopg://me:hunter2@db",
        "postgresql+psycopg://me:hunter2@db/",
        "postgresql+psycopg://me:hunter2@db:port/x",
        "postgresql+psycopg://me@db/x?password=hunter2",
        "mysql://me:hunter2@db/x",
    ],
)
def test_another_database_is_refused_without_its_password(url: str) -> None:
    message = refused(LedgerUrl, url)
    assert "hunter2" not in message
    assert "postgresql+psycopg://USER@HOST" in message or "password_file" in message


def test_paths_are_absolute_and_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert value(FilePath, "a/b", tmp_path) == tmp_path / "a" / "b"
    assert value(FilePath, "~/.cookie", tmp_path) == Path("/home/me/.cookie")
    assert value(FilePath, "/etc/x", tmp_path) == Path("/etc/x")
    assert value(FilePath, "a") == Path.cwd() / "a"
    assert "does not exist" in refused(FilePath, "~nobody-here/x")
    assert "empty" in refused(FilePath, "")
    assert "text" in refused(FilePath, 3)


def test_an_empty_optional_path_is_none() -> None:
    assert value(OptionalFilePath, "") is None
    assert value(OptionalFilePath, None) is None


def test_threads_are_a_number_or_auto() -> None:
    assert [value(Threads, given) for given in (0, 4, "auto")] == [0, 4, "auto"]
    for wrong in (-1, 1025, 1.5, "all", True, None, [1]):
        assert '"auto"' in refused(Threads, wrong)


def test_share_difficulty_is_a_number_or_auto() -> None:
    assert [value(ShareDifficulty, given) for given in (1, 0.001, "auto")] == [1.0, 0.001, "auto"]
    for wrong in (0, -1, "x", True, float("inf"), float("nan")):
        assert '"auto"' in refused(ShareDifficulty, wrong)


def test_a_tape_starts_at_a_time_or_after_seconds() -> None:
    noon = datetime(2026, 1, 12, 12, tzinfo=UTC)
    for given in (
        "2026-01-12T12:00:00Z",
        "2026-01-12T13:00:00+01:00",
        "2026-01-12T12:00",
        noon,
        noon.replace(tzinfo=None),
    ):
        assert value(TapeStart, given) == noon
    assert value(TapeStart, 90) == 90.0
    assert "ISO 8601" in refused(TapeStart, "yesterday")
    for wrong in (True, -1, float("nan"), [1]):
        assert "seconds" in refused(TapeStart, wrong)


def test_bounds_are_lowest_then_highest() -> None:
    assert value(Bounds, [-1, 2.5]) == (-1.0, 2.5)
    assert "lowest first" in refused(Bounds, [2, 1])
    assert refused(Bounds, [1])
