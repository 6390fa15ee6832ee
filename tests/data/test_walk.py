"""One walk finds the files of every reader: what it passes over, follows, cuts and names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mobilenets.data.entries import image_files
from mobilenets.data.walk import scan


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_hidden_files_and_what_systems_leave_behind_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "._a.jpg", ".git/b.jpg", "Thumbs.db", "__MACOSX/c.jpg", "@eaDir/d.jpg", "in/e.PNG", "in/.f.png")
    tree = scan(tmp_path)
    assert (tree.files(), tree.images(), tree.faults) == (["a.jpg", "in/e.PNG"], ["a.jpg", "in/e.PNG"], ())


def test_folders_that_disks_and_network_drives_keep_for_themselves_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "lost+found/2.jpg", "#recycle/a/3.jpg", "@Recycle/4.jpg", "#snapshot/a/5.jpg", "a/ehthumbs.db")
    assert scan(tmp_path).files() == ["a/1.jpg"]


def test_a_link_to_itself_does_not_hide_the_files_beside_it(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "a/2.jpg")
    (tmp_path / "a/self.jpg").symlink_to("self.jpg")
    tree = scan(tmp_path)
    assert (tree.files(), tree.faults) == (["a/1.jpg", "a/2.jpg", "a/self.jpg"], ())


def test_links_are_followed_and_loops_cut(tmp_path: Path) -> None:
    touch(tmp_path, "far/1.jpg", "set/a/2.jpg")
    (tmp_path / "set/far").symlink_to(tmp_path / "far")
    (tmp_path / "set/a/up").symlink_to("..")
    (tmp_path / "set/a/up2").symlink_to("..")
    (tmp_path / "set/gone.jpg").symlink_to("nothing")
    tree = scan(tmp_path / "set")
    assert tree.files() == ["gone.jpg", "a/2.jpg", "far/1.jpg"]
    assert [(fault.code, fault.file) for fault in tree.faults] == [("link-loop", "a/up"), ("link-loop", "a/up2")]
    assert [path.name for path in image_files(tmp_path / "set")] == ["gone.jpg", "2.jpg", "1.jpg"]


def test_links_among_folders_end_although_their_paths_grow_as_factorials(tmp_path: Path) -> None:
    names = "abcdefgh"
    for name in names:
        touch(tmp_path, f"{name}/{name}.jpg")
        for other in names:
            (tmp_path / name / f"to-{other}").symlink_to(tmp_path / other)
    tree = scan(tmp_path)
    assert {Path(path).name for path in tree.files()} == {f"{name}.jpg" for name in names}
    assert len(tree.files()) < 200  # 8 folders, each entered at most 8 times through links


def test_pipes_are_skipped_and_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "b.jpg")
    tree = scan(tmp_path)
    assert tree.files() == ["a.jpg"]
    assert [(fault.code, fault.file) for fault in tree.faults] == [("special-file", "b.jpg")]


def test_a_folder_that_cannot_be_read_is_named_and_the_others_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/1.jpg", "b/2.jpg")
    real = os.scandir

    def refuse(path: str) -> object:
        if os.fspath(path).endswith("a"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    tree = scan(tmp_path)
    assert tree.files() == ["b/2.jpg"]
    assert [(fault.code, fault.file) for fault in tree.faults] == [("unreadable-folder", "a")]
    assert "Permission denied" in tree.faults[0].message


def test_case_is_forgiven_where_nothing_fits_exactly(tmp_path: Path) -> None:
    touch(tmp_path, "Images/A.JPG", "images2/a.jpg")
    tree = scan(tmp_path)
    assert tree.resolved("images/a.jpg") == "Images/A.JPG"
    assert tree.resolved("images2/a.jpg") == "images2/a.jpg"
    assert tree.resolved("images/b.jpg") is None
