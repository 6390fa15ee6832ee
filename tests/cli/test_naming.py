from __future__ import annotations

from pathlib import Path

from mobilenets.cli.naming import Names


def test_names_keep_the_folders_below_the_one_given_and_differ_before_the_dot(tmp_path: Path) -> None:
    names = Names([str(tmp_path), "other/a.png", "-"])
    given = [f"{tmp_path}/a.png", f"{tmp_path}/in/a.png", f"{tmp_path}/a.jpg", "other/a.png", "../b.png", "-", "x/c.d.png"]
    assert [str(names.of(one)) for one in given] == [
        "a.png",
        "in/a.png",
        "a-2.jpg",
        "a-3.png",
        "b.png",
        "image",
        "c.d.png",
    ]
