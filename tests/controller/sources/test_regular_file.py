import os
from pathlib import Path

import pytest

from controller.sources.regular_file import first_line, opened


def test_a_file_is_read_with_its_stamp(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("on\n")
    found = file.stat()
    with opened(file) as content:
        assert content.stamp == (found.st_mtime_ns, 3, found.st_ino)
        assert content.read(3) == b"on\n"


def test_a_link_to_a_file_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("on")
    (tmp_path / "link").symlink_to("file")
    assert first_line(tmp_path / "link") == "on"


def test_more_than_is_wanted_is_refused_also_where_the_size_is_not_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("four")
    for name in (file, Path("/proc/self/status")):  # which says that it is empty
        with opened(name) as content, pytest.raises(ValueError, match="larger than 3 bytes"):
            content.read(3)


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_that_nobody_writes_to_is_refused_at_once(tmp_path: Path, *, linked: bool) -> None:
    file = tmp_path / "pipe"
    os.mkfifo(file)
    if linked:
        (tmp_path / "link").symlink_to(file)
        file = tmp_path / "link"
    with pytest.raises(ValueError, match="no regular file"):
        first_line(file)


def test_a_file_that_became_a_pipe_meanwhile_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    regular, pipe = tmp_path / "file", tmp_path / "pipe"
    regular.write_text("on")
    os.mkfifo(pipe)
    found = regular.stat()
    monkeypatch.setattr(os, "stat", lambda *_, **__: found)
    with pytest.raises(ValueError, match="no regular file"):
        first_line(pipe)


@pytest.mark.parametrize("name", ["/dev/zero", "/"])
def test_devices_and_folders_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no regular file"):
        first_line(Path(name))


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        first_line(tmp_path / "none")


def test_the_first_line_is_without_white_space_and_mark(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"\xef\xbb\xbf  s3cret \r\nmore\n")
    assert first_line(file) == "s3cret"
