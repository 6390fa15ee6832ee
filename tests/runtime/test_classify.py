from __future__ import annotations

import numpy as np
import pytest

from mobilenets.errors import CheckpointError
from mobilenets.runtime.classify import decode_classifications, softmax
from mobilenets.runtime.manifest import Manifest
from mobilenets.specs.model import ClassifierHead, InputContract


def manifest(temperature: float = 1.0) -> Manifest:
    return Manifest("m", ("a", "b", "c"), InputContract(), ClassifierHead(temperature))


def test_scores_are_the_softmax_of_the_logits() -> None:
    (one,) = decode_classifications({"logits": np.log(np.array([[1, 2, 5]], np.float32))}, manifest())
    np.testing.assert_allclose(one.scores, [0.125, 0.25, 0.625], rtol=1e-6)


def test_temperature_divides_the_logits() -> None:
    (one,) = decode_classifications({"logits": 2 * np.log(np.array([[1, 2, 5]], np.float32))}, manifest(2.0))
    np.testing.assert_allclose(one.scores, [0.125, 0.25, 0.625], rtol=1e-6)


def test_logits_stay_as_the_network_gave_them() -> None:
    (one,) = decode_classifications({"logits": np.array([[1, 2, 5]], np.float32)}, manifest(3.0))
    assert one.logits.tolist() == [1, 2, 5]


def test_huge_logits_do_not_overflow() -> None:
    assert softmax(np.array([[1e30, 0, -1e30]], np.float32)).tolist() == [[1, 0, 0]]


def test_top_lists_the_best_first_and_no_more_than_there_are() -> None:
    (one,) = decode_classifications({"logits": np.log(np.array([[2, 5, 1]], np.float32))}, manifest())
    assert [label for label, _ in one.top(2)] == ["b", "a"]
    assert [label for label, _ in one.top(9)] == ["b", "a", "c"]
    assert (one.label, round(one.score, 6)) == ("b", 0.625)


def test_a_classification_prints_its_best_labels() -> None:
    (one,) = decode_classifications({"logits": np.log(np.array([[1, 2, 5]], np.float32))}, manifest())
    assert repr(one) == "Classification(c 62.5%, b 25.0%, a 12.5%)"


def test_of_equal_scores_the_earlier_label_comes_first() -> None:
    (one,) = decode_classifications({"logits": np.zeros((1, 3), np.float32)}, manifest())
    assert [label for label, _ in one.top(3)] == ["a", "b", "c"]


def test_logits_that_do_not_fit_the_labels_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"shape 2 x 4 but its manifest has 3 labels"):
        decode_classifications({"logits": np.zeros((2, 4), np.float32)}, manifest())


def test_a_network_without_logits_is_refused() -> None:
    with pytest.raises(CheckpointError, match="no output 'logits' but 'boxes'"):
        decode_classifications({"boxes": np.zeros((2, 4), np.float32)}, manifest())
