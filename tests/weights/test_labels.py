from __future__ import annotations

from pathlib import Path

import pytest

from mobilenets.errors import WeightsError
from mobilenets.weights.labels import labels_for, read_labels


def test_imagenet_s_names_are_the_default_for_1000_classes() -> None:
    labels = labels_for(1000, ())
    assert (labels[0], labels[1], labels[999]) == ("tench", "goldfish", "toilet tissue")
    assert len(set(labels)) == 1000


def test_other_counts_are_numbered() -> None:
    assert labels_for(3, ()) == ("class_0000", "class_0001", "class_0002")
    assert labels_for(0, ()) == ()


def test_a_background_line_is_left_out() -> None:
    assert labels_for(2, ("background", "cat", "dog")) == ("cat", "dog")


def test_names_that_come_twice_get_their_number() -> None:
    assert labels_for(3, ("crane", "cat", "crane")) == ("crane (0)", "cat", "crane (2)")


def test_too_few_names_are_an_error() -> None:
    with pytest.raises(WeightsError, match="20 labels for 21 classes; is 'background' missing"):
        labels_for(21, tuple(str(i) for i in range(20)))


def test_a_label_file_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("  cat \n\ndog\n", encoding="utf-8")
    assert read_labels(path) == ("cat", "dog")


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe\x00"])
def test_a_label_file_without_names_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"labels\.txt"):
        read_labels(path)


def test_a_label_file_that_is_not_there_is_named_without_numbers_of_errors(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"labels\.txt', the file of labels, cannot be read: No such file or directory$"):
        read_labels(tmp_path / "labels.txt")
