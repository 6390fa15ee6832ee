"""The ablations: networks that differ in what they should, runs that go on, orders that are judged by paired images."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Timer

import numpy as np
import pytest
from tests.science.conftest import images

from mobilenets.errors import DataError
from mobilenets.evaluation.intervals import Interval
from mobilenets.files import claimed
from mobilenets.science.ablation import networks
from mobilenets.science.ablation.compared import difference, verdict
from mobilenets.science.ablation.networks import Ablation, Order
from mobilenets.science.ablation.training import RIGHT, trained
from mobilenets.science.entry import Asked
from mobilenets.science.networks import classifier
from mobilenets.science.table import REPRODUCTIONS
from mobilenets.specs.families import backbone
from mobilenets.specs.rows import BackboneSpec, Bottleneck, Conv, Separable
from mobilenets.telling import Telling

ALL = (
    networks.table_4,
    networks.table_5,
    networks.figure_6a,
    networks.figure_6b,
    networks.expansion,
    networks.hard_swish,
    networks.last_stage,
)


@pytest.mark.parametrize("build", ALL)
def test_every_variant_makes_a_last_map_of_2_px_and_is_named_in_the_orders(build: Callable[[], Ablation]) -> None:
    ablation = build()
    for spec in ablation.variants.values():
        assert np.prod([row.stride for row in spec.rows]) == 16
        assert classifier("x", spec, size=networks.SIZE).graph().macs > 0
    assert {name for order in ablation.orders for name in (order.better, order.worse)} == set(ablation.variants)


def test_only_the_last_strides_stay() -> None:
    spec = networks.for_small_images(backbone("mobilenet_v2"), 2)
    strides = [i for i, row in enumerate(spec.rows) if row.stride == 2]
    assert strides == [i for i, row in enumerate(backbone("mobilenet_v2").rows) if row.stride == 2][-2:]


def test_an_expansion_ratio_of_6_is_v2_itself_and_of_1_has_no_expansion_layer() -> None:
    v2 = backbone("mobilenet_v2")
    assert networks.with_expansion(v2, 6) == v2
    c_in, ratios = 32, []
    for row in networks.with_expansion(v2, 3).rows[1:-1]:
        assert isinstance(row, Bottleneck)
        ratios.append(row.c_expand / c_in)
        c_in = row.c_out
    assert ratios == [1] + [3] * 16
    names = {layer.name.rpartition(".")[0] for layer in classifier("x", networks.with_expansion(v2, 1)).graph().layers}
    assert not any(name.endswith("expand") for name in names)


def test_narrow_and_shallow_cost_about_the_same() -> None:
    """V1, Table 5: 325 and 307 M multiply-adds, a ratio of 1.06."""
    narrow, shallow = (classifier("x", spec, size=networks.SIZE).graph().macs for spec in networks.table_5().variants.values())
    assert 0.9 < narrow / shallow < 1.25


def test_the_full_network_has_only_full_convolutions_of_the_same_channels() -> None:
    separable, full = networks.table_4().variants.values()
    assert [row.c_out for row in separable.rows] == [row.c_out for row in full.rows]
    assert {type(row) for row in full.rows} == {Conv}
    assert {type(row) for row in separable.rows} == {Conv, Separable}


def test_the_difference_is_paired_by_image_and_averaged_over_seeds() -> None:
    better = np.array([[True, True, True, False], [True, True, False, False]])
    worse = np.array([[True, False, True, False], [True, False, False, False]])
    gap, interval = difference(better, worse)
    assert gap == 1 / 4  # the second image, in both seeds
    assert 0 <= interval.low <= gap <= interval.high <= 1
    gap, interval = difference(better, better)
    assert (gap, np.isnan(interval.low)) == (0.0, True)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.01, 0.03, "the order holds"), (-0.03, -0.01, "it is reversed"), (-0.01, 0.03, "do not tell")],
)
def test_an_order_is_judged_by_its_interval(low: float, high: float, words: str) -> None:
    sentence = verdict(Order("a", "b"), (low + high) / 2, Interval(low, high), np.array([low, high]), "V2, Figure 6a")
    assert words in sentence
    assert f"by seed {100 * low:+.2f}, {100 * high:+.2f}" in sentence


def test_two_that_no_image_tells_apart_have_no_order_and_no_interval() -> None:
    nothing = Interval(float("nan"), float("nan"))
    sentence = verdict(Order("a", "b"), 0.0, nothing, np.zeros(2), "V2, Figure 6a")
    assert "the difference is 0.00 points, by seed 0.00, 0.00: " in sentence
    assert "do not tell" in sentence


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.01, 0.03, "even better"), (-0.03, -0.01, "something is lost"), (-0.01, 0.03, "no loss beyond")],
)
def test_what_should_be_as_good_is_judged_by_what_is_lost(low: float, high: float, words: str) -> None:
    order = Order("a", "b", relation="as good as")
    assert words in verdict(order, (low + high) / 2, Interval(low, high), np.array([low, high]), "V3, Section 5.1")


TINY = {
    "wide": BackboneSpec("tiny", (Conv(8, kernel=3, stride=2, activation="relu"), Separable(16, stride=2))),
    "narrow": BackboneSpec("tiny", (Conv(8, kernel=3, stride=2, activation="relu"), Separable(8, stride=2))),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return images(Path(), tmp_path_factory.mktemp("small"))


def test_what_was_trained_is_not_trained_again_and_variants_share_images(data: str, tmp_path: Path) -> None:
    lines: list[str] = []
    asked = Asked(tmp_path, data=data, seeds=2, epochs=1, telling=Telling(said=lines.append))
    first = trained(TINY, asked)
    assert [line.partition(": ")[0] for line in lines[::2]] == [f"{name}, seed {seed}" for seed in range(2) for name in TINY]
    assert {line.partition(": ")[2] for line in lines[::2]} == {"training begins at step 1 of 1"}
    assert {name: right.shape for name, right in first.right.items()} == {"wide": (2, 16), "narrow": (2, 16)}
    assert len(first.names) == 16
    runs = sorted(tmp_path.glob("runs/*"))
    assert len(runs) == 4
    times = [(run / "last" / "model.safetensors").stat().st_mtime_ns for run in runs]
    again = trained(TINY, asked)
    assert all(np.array_equal(again.right[name], first.right[name]) for name in TINY)
    assert [(run / "last" / "model.safetensors").stat().st_mtime_ns for run in runs] == times


def test_a_run_that_was_stopped_goes_on_and_ends_the_same(data: str, tmp_path: Path) -> None:
    """A stop is a mistake in what is told after the first step: the training closes and saves."""
    spec = {"wide": TINY["wide"]}
    expected = trained(spec, Asked(tmp_path / "whole", data=data, seeds=1, epochs=3)).right["wide"]
    asked = Asked(tmp_path / "stopped", data=data, seeds=1, epochs=3)

    class StoppedError(Exception):
        pass

    def progress(description: str, total: int | None) -> object:
        raise StoppedError

    with pytest.raises(StoppedError):
        trained(spec, replace(asked, telling=replace(asked.telling, progress=progress)))  # type: ignore[arg-type]  # it raises
    [run] = (tmp_path / "stopped" / "runs").iterdir()
    assert (run / "last").is_dir()
    assert not (run / RIGHT).exists()
    lines: list[str] = []
    again = replace(asked, telling=replace(asked.telling, said=lines.append))
    assert np.array_equal(trained(spec, again).right["wide"], expected)
    assert lines == ["wide, seed 0: goes on at step 2 of 3", "wide, seed 0: looking at 16 test images"]


def test_two_ablations_do_not_train_one_network_at_the_same_time(data: str, tmp_path: Path) -> None:
    free: list[bool] = []

    def look(_: str) -> None:
        [run] = (tmp_path / "runs").iterdir()
        with claimed(run) as is_free:
            free.append(is_free)

    trained({"wide": TINY["wide"]}, Asked(tmp_path, data=data, seeds=1, epochs=1, telling=Telling(said=look)))
    assert free == [False, False]  # when the training begins, and before the test images
    look("")
    assert free.pop()


def test_an_ablation_says_that_it_waits_for_another(data: str, tmp_path: Path) -> None:
    asked, lines, other = Asked(tmp_path, data=data, seeds=1, epochs=1), list[str](), ExitStack()
    trained({"wide": TINY["wide"]}, asked)
    [run] = (tmp_path / "runs").iterdir()
    (run / RIGHT).unlink()
    assert other.enter_context(claimed(run))

    def said(line: str) -> None:
        lines.append(line)
        other.close()

    late = Timer(60, other.close)  # an ablation that waits without a word fails here, and does not wait for ever
    late.start()
    trained({"wide": TINY["wide"]}, replace(asked, telling=Telling(said=said)))
    late.cancel()
    assert lines[0] == "wide, seed 0: another process trains it; waiting until it ends"


def test_other_settings_are_other_runs(data: str, tmp_path: Path) -> None:
    spec = {"wide": TINY["wide"]}
    trained(spec, Asked(tmp_path, data=data, seeds=1, epochs=1))
    trained(spec, Asked(tmp_path, data=data, seeds=1, epochs=2))
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_data_without_test_images_is_refused(tmp_path: Path, data: str) -> None:
    few = tmp_path / "few" / "only"
    few.mkdir(parents=True)
    (few / "0.png").write_bytes((Path(data) / "train" / "dark" / "0.png").read_bytes())
    with pytest.raises(DataError, match="has no test images"):
        trained(TINY, Asked(tmp_path, data=str(few.parent), seeds=1, epochs=1))


def test_data_with_boxes_is_refused(tmp_path: Path, shared: Path) -> None:
    with pytest.raises(DataError, match="has boxes or masks, but the ablations train classifiers"):
        trained(TINY, Asked(tmp_path, data=str(shared / "data" / "bccd"), seeds=1, epochs=1))


def test_ablations_need_data_and_take_seeds_and_epochs() -> None:
    entries = [entry for entry in REPRODUCTIONS.values() if entry.function.startswith("ablation.")]
    assert len(entries) == len(ALL)
    assert {entry.uses for entry in entries} == {("data", "seeds", "epochs")}
