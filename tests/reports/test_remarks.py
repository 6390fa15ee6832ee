from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mobilenets.data.checks.leaks import Leak
from mobilenets.data.samples import Dataset, Sample, Split
from mobilenets.evaluation.classify.evaluate import Report
from mobilenets.evaluation.detect.evaluate import DetectionReport
from mobilenets.evaluation.detect.truth import Truth
from mobilenets.evaluation.segment.evaluate import SegmentationReport
from mobilenets.reports.ancestry import behind, inherited, learned_from
from mobilenets.reports.detect.report import constant_box
from mobilenets.reports.kinds import KINDS
from mobilenets.reports.remarks import inherited_remarks, leak_remarks, remarks_of, seen_remarks, size_remarks, training_remarks
from mobilenets.runtime.detect.decode import Detections


def classifier(
    truth: list[int], predicted: list[int], labels: tuple[str, ...] = ("a", "b"), temperature: float = 1.0
) -> Report:
    logits = np.zeros((len(truth), len(labels)), np.float32)
    logits[np.arange(len(truth)), predicted] = 2
    scores = np.exp(logits / temperature)
    scores /= scores.sum(axis=1, keepdims=True)
    names = tuple(f"{i}.jpg" for i in range(len(truth)))
    return Report("m", labels, names, np.array(truth), logits, scores.astype(np.float32), temperature)


def detector(corners: Sequence[tuple[float, float]]) -> DetectionReport:
    """One object in each image, which is found."""
    judged = []
    for x, y in corners:
        box = np.array([[x, y, x + 40, y + 40]], np.float32)
        found = Detections(("a",), box, np.array([0.9], np.float32), np.zeros(1, np.int64))
        clear = np.zeros(1, np.bool_)
        judged.append((found, Truth(box, np.zeros(1, np.int64), clear, clear)))
    return DetectionReport("m", ("a",), tuple(str(i) for i in range(len(corners))), tuple(judged), (0.5,))


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (
            5,
            "The test split has 5 images: too few to judge. The true top-1 accuracy may be anywhere from 56.6% to 100.0%.",
        ),
        (1, "The test split has 1 image: too few to judge."),
        (60, "The test split has 60 images: only large differences can be seen."),
    ],
)
def test_a_small_split_is_said(images: int, said: str) -> None:
    truth = [i % 2 for i in range(images)]
    assert size_remarks(classifier(truth, truth), "test")[0].text.startswith(said)


def test_a_large_split_of_large_classes_needs_no_words() -> None:
    truth = [i % 2 for i in range(200)]
    assert size_remarks(classifier(truth, truth), "test") == []


def test_classes_with_few_images_are_named() -> None:
    truth = [0] * 90 + [1] * 9 + [2] * 4
    (remark,) = size_remarks(classifier(truth, truth, ("a", "b", "c")), "all")
    assert remark.text == "2 classes have fewer than 10 images here: 'c' (4), 'b' (9). Their own metrics say little."


def test_an_accuracy_that_a_constant_answer_has_too_is_said() -> None:
    truth = [0] * 80 + [1] * 20
    (remark,) = KINDS[Report].remarks(classifier(truth, [0] * 100))
    assert "Always answering 'a' would be right for 80.0% of these images; the model is right for 80.0%" in remark.text
    assert KINDS[Report].remarks(classifier(truth, truth)) == []


def test_a_temperature_that_makes_the_scores_worse_is_said() -> None:
    truth = [i % 2 for i in range(100)]
    wrong = [1 - label for label in truth[:40]] + truth[40:]
    (remark,) = KINDS[Report].remarks(classifier(truth, wrong, temperature=0.2))
    assert remark.text.startswith("The temperature 0.20, fitted on validation images, does not help here")
    assert KINDS[Report].remarks(classifier(truth, wrong)) == []


def test_a_constant_box_that_explains_most_hits_is_said() -> None:
    report = detector([(100 + i % 3, 100) for i in range(18)] + [(i * 60, 300) for i in range(15)])
    assert constant_box(report)[:2] == (18, 33)
    (remark,) = KINDS[DetectionReport].remarks(report)
    assert remark.text.startswith("One constant box, predicted in every image, explains 18 of 33 hits")
    assert KINDS[DetectionReport].remarks(detector([(i * 60, i * 7) for i in range(33)])) == []


def test_a_segmenter_no_better_than_one_class_everywhere_is_said() -> None:
    support = np.array([[90, 10]] * 40)
    hits, predicted = np.array([[90, 0]] * 40), np.array([[100, 0]] * 40)
    names = tuple(str(i) for i in range(40))
    report = SegmentationReport(
        "m",
        ("sky", "car"),
        ((0, 0, 0),) * 2,
        names,
        hits,
        support,
        predicted,
        np.array([[3600, 0], [400, 0]]),
        np.ones((40, 2)),
    )
    (remark,) = KINDS[SegmentationReport].remarks(report)
    assert remark.text.startswith("Predicting 'sky' everywhere would get 90.0% of the pixels right; the model gets 90.0%")


@pytest.mark.parametrize(
    ("losses", "epochs", "said", "warning"),
    [
        ((3.0, 2.0, 1.0), 100, "The model was trained for 3 of 100 epochs, and the loss was still falling", True),
        ((3.0, 2.0, 2.0), 100, "The model was trained for 3 of 100 epochs.", False),
        ((3.0, 2.0, 1.0), 3, "The loss was still falling after 3 epochs", True),
    ],
)
def test_a_training_with_more_to_gain_is_said(losses: tuple[float, ...], epochs: int, said: str, warning: bool) -> None:
    rows = [{"epoch": float(i), "train_loss": loss} for i, loss in enumerate(losses, start=1)]
    (remark,) = training_remarks(rows, {"Recipe": {"epochs": epochs}})
    assert remark.text.startswith(said)
    assert remark.warning == warning


def test_a_training_that_came_to_rest_needs_no_words() -> None:
    assert (
        training_remarks([{"epoch": 1.0, "train_loss": 1.0}, {"epoch": 2.0, "train_loss": 1.0}], {"Recipe": {"epochs": 2}})
        == []
    )
    assert training_remarks([], {}) == []


def test_images_that_were_trained_on_are_said_for_the_split_that_is_measured() -> None:
    leaks = [Leak("test", "train", ("a", "b"), 12), Leak("val", "train", ("c",), 9)]
    (remark,) = leak_remarks(leaks, "test")
    assert remark.text == "2 of 12 test images are also in train: the metrics are better than they would be on new images."


@pytest.mark.parametrize(
    ("splits", "split", "said"),
    [
        (("train",) * 3, "all", "on these images:"),
        (("train", "train", "test"), "all", "on 2 of these 3 images:"),
        (("train", "test"), "train", "on these images:"),
        (("train", "test"), "test", ""),
        (("train",) * 3, "cross-validation", ""),
    ],
)
def test_images_that_the_model_was_trained_on_are_said(splits: tuple[Split, ...], split: str, said: str) -> None:
    samples = tuple(Sample(Path(f"{i}.jpg"), 0, splits[i]) for i in range(len(splits)))
    remarks = seen_remarks(Dataset(("cat", "dog"), samples, "pets"), split)
    assert [said in remark.text and remark.warning for remark in remarks] == ([True] if said else [])


def test_what_puts_figures_in_doubt_comes_first(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"recipe": {"epochs": 9}}))
    (tmp_path / "metrics.csv").write_text("epoch,train_loss\n1,1\n2,1\n")
    remarks = remarks_of(classifier([0, 1], [0, 1]), split="val", run=tmp_path)
    assert [remark.warning for remark in remarks] == [True, True, False]  # too few; a constant answer; the training
    assert remarks_of(classifier([0, 1] * 60, [0, 1] * 60), split="val", run=tmp_path / "none") == ()


def _run(folder: Path, splits: dict[str, Split], *, weights: Path | str = "none", source: str = "/photos") -> Path:
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"format": 2, "data": {"source": source, "weights": str(weights)}}))
    lines = [f"/photos/{name},a,{split},1,,{name},,," for name, split in splits.items()]
    header = "path,label,split,weight,group,name,offset,size,checksum"
    (folder / "splits.csv").write_text("\n".join([header, *lines, ""]))
    return folder


def test_images_that_the_first_weights_had_learned_from_are_said(tmp_path: Path) -> None:
    """A run goes on from a run that goes on from a run: each drew its own splits."""
    first = _run(tmp_path / "first", {"0.jpg": "train", "1.jpg": "train", "2.jpg": "test"})
    second = _run(tmp_path / "second", {"0.jpg": "test", "1.jpg": "train", "2.jpg": "test"}, weights=first)
    third = _run(
        tmp_path / "third", {"0.jpg": "test", "1.jpg": "test", "2.jpg": "test", "3.jpg": "test"}, weights=second / "best"
    )
    (second / "best").mkdir()
    assert inherited(first) == frozenset()
    assert learned_from(first) == inherited(second) == {"0.jpg", "1.jpg"}
    assert inherited(third) == {"0.jpg", "1.jpg"}
    assert behind(str(first), "/elsewhere") == frozenset()  # images of the same names in another dataset are others
    assert behind("mobilenet_v2", "/photos") == frozenset()
    samples = [Sample(Path(f"{i}.jpg"), 0, "test", name=f"{i}.jpg") for i in range(4)]
    dataset = Dataset(("a",), tuple(samples), "photos")
    said = "The first weights were trained on 2 of these 4 images: the metrics are better than they would be on new images."
    report = classifier([0] * 4, [0] * 4)
    assert said in [remark.text for remark in remarks_of(report, split="test", run=third, dataset=dataset)]
    assert [remark.text for remark in inherited_remarks(dataset, "cross-validation", inherited(third))] == [said]
    assert inherited_remarks(dataset, "val", inherited(third)) == []
    assert inherited_remarks(dataset, "test", {"4.jpg"}) == []


def test_runs_that_name_each_other_end(tmp_path: Path) -> None:
    first = _run(tmp_path / "first", {"0.jpg": "train"}, weights=tmp_path / "second")
    _run(tmp_path / "second", {"1.jpg": "train"}, weights=first)
    assert learned_from(first) == {"0.jpg", "1.jpg"}
