"""The head that is taught in the browser: scikit-learn's optimum, and an accuracy that near duplicates do not lift."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.web.remote import InBrowser

from mobilenets.runtime.manifest import Manifest
from mobilenets.specs.model import InputContract

DECAY = 0.3  # of web/src/teach/linear.ts
WIDTH = 40


@pytest.fixture
def school(workbench: InBrowser, color_model: Path) -> InBrowser:
    """The worker of a page, which teaches."""
    workbench.open(color_model, Manifest("any", ("label",), InputContract(size=16)))
    return workbench


def examples(images: int, classes: int, *, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features of images whose classes overlap, of very different sizes and none of them centered; and the classes."""
    generator = np.random.default_rng(seed)
    own = np.arange(images) % classes
    features = generator.normal(0, 1, (images, WIDTH)) + 0.5 * generator.normal(0, 1, (classes, WIDTH))[own]
    return (features * np.logspace(-1, 1, WIDTH) + 3).astype(np.float32), own


def test_the_head_is_the_optimum_that_scikit_learn_finds(school: InBrowser) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    features, classes = examples(90, 3)
    taught = school.teach(features, classes, takes=np.arange(90))
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    peer = linear_model.LogisticRegression(C=1 / (len(classes) * DECAY), tol=1e-8, max_iter=2000)
    peer.fit((features - mean) / deviation, classes)
    weight = peer.coef_ / deviation
    bias = peer.intercept_ - weight @ mean
    expected = features @ weight.T + bias
    logits = features @ taught.weight.T + taught.bias
    np.testing.assert_allclose(logits - logits.mean(1, keepdims=True), expected - expected.mean(1, keepdims=True), atol=0.01)


def test_held_out_images_are_judged_by_heads_that_have_not_seen_them(school: InBrowser) -> None:
    """Classes that mean nothing: a head recognizes every image that it has seen, and half of those it has not."""
    generator = np.random.default_rng(1)
    takes = np.repeat(np.arange(24), 10)  # ten frames each, which are nearly the same image
    features = (generator.normal(0, 1, (24, WIDTH))[takes] + generator.normal(0, 0.01, (240, WIDTH))).astype(np.float32)
    classes = (np.arange(24) % 2)[takes]
    taught = school.teach(features, classes, takes=takes)
    seen = (features @ taught.weight.T + taught.bias).argmax(axis=1)
    assert (seen == classes).mean() > 0.95
    assert taught.held_out is not None
    assert 0.2 < (taught.held_out == classes).mean() < 0.8


def test_the_temperature_makes_scores_of_held_out_images_true(school: InBrowser) -> None:
    features, classes = examples(200, 2, seed=3)
    noisy = np.where(np.random.default_rng(0).random(200) < 0.25, 1 - classes, classes)  # one in four has the wrong label
    taught = school.teach(features, noisy, takes=np.arange(200))
    assert taught.temperature > 1.2
    clean = school.teach(features, classes, takes=np.arange(200))
    assert clean.temperature < taught.temperature


def test_a_class_of_a_single_take_is_taught_but_not_measured(school: InBrowser) -> None:
    features, classes = examples(20, 2)
    takes = np.where(classes == 0, 0, np.arange(20) + 1)
    taught = school.teach(features, classes, takes=takes)
    assert taught.held_out is None
    assert taught.temperature == 1
    assert taught.weight.shape == (2, WIDTH)
