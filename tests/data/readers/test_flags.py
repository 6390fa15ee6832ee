"""Columns that say more of an image than its label: in which split it is, and that a person denied the label."""

from __future__ import annotations

from pathlib import Path

from tests.data.readers.written import photos, text

from mobilenets.data.open import open_dataset


def test_flags_of_fastai_are_splits(tmp_path: Path) -> None:
    names = photos(tmp_path, "*.png")
    text(tmp_path / "l.csv", "name,label,is_valid\n" + "".join(f"{name},c{i % 2},{i == 1}\n" for i, name in enumerate(names)))
    dataset = open_dataset(tmp_path / "l.csv")
    assert (dataset.labels, [sample.split for sample in dataset.samples]) == (("c0", "c1"), ["train", "val", "train"])


def test_a_label_that_a_person_denied_is_left_out(tmp_path: Path) -> None:
    names = photos(tmp_path, "*.png")
    rows = [f"{name.removesuffix('.png')},verification,/m/{i},{int(i != 1)}" for i, name in enumerate(names)]
    text(tmp_path / "l.csv", "ImageID,Source,LabelName,Confidence\n" + "\n".join(rows) + "\n")
    dataset = open_dataset(tmp_path / "l.csv")
    assert dataset.labels == ("/m/0", "/m/2")
    assert dataset.notes[0] == "1 row with a confidence of 0 says what an image does not show; it is left out"
