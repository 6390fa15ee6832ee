"""Files and folders appear whole or not at all."""

from __future__ import annotations

import multiprocessing
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mobilenets import files
from mobilenets.errors import UsageError


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def test_a_file_takes_its_place_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "list.csv"
    with files.drafted(path) as draft:
        draft.write_text("whole")
        assert not path.exists()
    assert (path.read_text(), names(path.parent)) == ("whole", ["list.csv"])


def test_an_error_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), files.drafted(path) as draft:
        draft.write_text("half of it \ud800", encoding="utf-8")
    assert (path.read_text(), names(tmp_path)) == ("old", ["list.csv"])


def test_a_link_keeps_pointing_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "there.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("there.txt")
    files.write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "there.txt").read_text() == "new"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_device_is_written_to_directly() -> None:
    files.write_text(Path(os.devnull), "gone")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)  # noqa: PTH116  # no Path for a device


def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path: Path) -> None:
    for name in ("ä" * 127, "n" * 255):
        files.write_text(tmp_path / name, "x")
        assert (tmp_path / name).read_text() == "x"


def test_bytes_of_names_that_are_not_utf8_are_kept(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a", "x\udcff\r\ny")
    assert (tmp_path / "a").read_bytes() == b"x\xff\r\ny"


@pytest.mark.parametrize("before", ["missing", "empty"])
def test_a_folder_takes_its_place_when_the_block_ends(tmp_path: Path, before: str) -> None:
    folder = tmp_path / "set"
    if before == "empty":
        folder.mkdir()
    with files.drafted_folder(folder) as draft:
        (draft / "images").mkdir()
        (draft / "images" / "a").write_text("x")
        assert not (folder / "images").exists()
    assert (names(tmp_path), names(folder)) == (["set"], ["images"])


def test_a_folder_that_holds_something_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine").write_text("x")
    with pytest.raises(OSError, match="not empty"), files.drafted_folder(tmp_path / "set") as draft:
        (draft / "a").write_text("x")
    assert (names(tmp_path), names(tmp_path / "set")) == (["set"], ["mine"])


def test_a_replaced_folder_holds_the_new_files_alone(tmp_path: Path) -> None:
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "old").write_text("x")
    with files.replaced_folder(tmp_path / "best") as draft:
        (draft / "new").write_text("y")
    assert (names(tmp_path), names(tmp_path / "best")) == (["best"], ["new"])


@pytest.mark.parametrize("way", ["drafted", "drafted_folder", "replaced_folder"])
def test_a_program_that_is_killed_leaves_what_was_there(tmp_path: Path, way: str) -> None:
    target = tmp_path / "it"
    if way == "drafted":
        target.write_text("old")
    elif way == "replaced_folder":
        target.mkdir()
        (target / "old").write_text("x")
    program = (
        "import os, signal, sys; from pathlib import Path; from mobilenets import files\n"
        "with getattr(files, sys.argv[2])(Path(sys.argv[1])) as draft:\n"
        "    (draft / 'a' if draft.is_dir() else draft).write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(target), way], check=False).returncode != 0
    visible = [name for name in names(tmp_path) if name[0] != "."]
    assert visible == ([] if way == "drafted_folder" else ["it"])
    if way == "drafted":
        assert target.read_text() == "old"
    if way == "replaced_folder":
        assert names(target) == ["old"]


def test_a_folder_is_writable_if_it_can_be_made(tmp_path: Path) -> None:
    files.check_writable(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()


def test_a_folder_in_a_file_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"folder' cannot be created: '.*file' is a file, not a folder"):
        files.check_writable(tmp_path / "file" / "folder")


def test_a_file_is_no_folder_to_write_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"^'.*file' is a file, not a folder$"):
        files.check_writable(tmp_path / "file")


def test_a_folder_does_not_take_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(NotADirectoryError), files.replaced_folder(tmp_path / "file"):
        pass
    assert [(item.name, item.read_text()) for item in tmp_path.iterdir()] == [("file", "kept")]


def test_a_link_that_leads_nowhere_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match="a link that leads nowhere"):
        files.check_writable(tmp_path / "link" / "folder")


def test_a_fork_does_not_hold_a_place_that_its_parent_left(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    begun, wait = fork.Event(), fork.Event()

    def linger() -> None:
        begun.set()
        wait.wait(60)

    with files.claimed(tmp_path) as free:
        assert free
        worker = fork.Process(target=linger)
        worker.start()
        assert begun.wait(60)
        with files.claimed(tmp_path) as again:
            assert not again  # what the fork closed was its own
    with files.claimed(tmp_path) as free:
        assert free
    wait.set()
    worker.join()


def test_a_place_that_was_replaced_meanwhile_is_not_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, open_it = tmp_path / "place", os.open
    place.mkdir()

    def late(path: Path, flags: int) -> int:
        handle = open_it(path, flags)
        place.rename(tmp_path / "elsewhere")
        place.mkdir()
        return handle

    monkeypatch.setattr(os, "open", late)
    with files.claimed(place) as free:
        assert not free


def test_who_has_a_place_has_it_alone_until_the_end_and_others_wait(tmp_path: Path) -> None:
    order: list[str] = []

    def later() -> None:
        with files.alone(tmp_path):
            order.append("second")

    with files.alone(tmp_path):
        with files.claimed(tmp_path) as free:
            assert not free
        thread = threading.Thread(target=later)
        thread.start()
        thread.join(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    with files.claimed(tmp_path) as free:
        assert free
