"""Our own engine in the browser: the same answers as Python, to the bit in integers, and errors that the page survives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import load_file
from tests.deploy.conftest import trained
from tests.exporters.networks import SPECS
from tests.web.conftest import READY_MS, SETTLED, served
from tests.web.remote import InBrowser
from tests.web.test_networks import IMAGES, SAME, TOLERANCE

import mobilenets
from mobilenets.cli.demo import page_of
from mobilenets.deploy import file, reference
from mobilenets.deploy.arena import fused_plan, plan
from mobilenets.deploy.browser import networks
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.deploy.write_onnx import to_onnx
from mobilenets.exporters.lower import lower
from mobilenets.runtime.images.prepare import load_input
from mobilenets.runtime.predictor import Predictor
from mobilenets.web import folder as folders
from mobilenets.web.folder import write_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("native_engine")]  # a network of each task is built and exported
Give = Callable[[Graph], Path]


@pytest.fixture(scope="module", params=SPECS)
def lowered(request: pytest.FixtureRequest) -> Graph:
    """A network of each task, as training leaves one."""
    return lower(trained(mobilenets.create(SPECS[request.param])))


@pytest.fixture
def give(tmp_path: Path) -> Give:
    """Writes a graph as a page gives it to the engine: its operators, and behind them the ONNX file with the weights."""

    def written(graph: Graph) -> Path:
        import onnx

        onnx.save(to_onnx(graph), tmp_path / "model.onnx")
        found = networks(tmp_path / "model.onnx", tmp_path, graph)
        assert next(iter(found)) == "native"
        operators, weights = found["native"].read_bytes(), (tmp_path / "model.onnx").read_bytes()
        assert len(operators) < 0.5 * len(weights)
        (tmp_path / "whole.graph").write_bytes(operators + weights)
        return tmp_path / "whole.graph"

    return written


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier as an ONNX file."""
    folder = tmp_path_factory.mktemp("exported")
    mobilenets.export(mobilenets.create(SPECS["classify"]), folder, to="onnx")
    return folder / "model.onnx"


@pytest.fixture(scope="module")
def bench(browser: Browser, native_engine: Path, exported: Path) -> Iterator[InBrowser]:
    """A page with our own engine, whose worker tests may give any network."""
    with page_of(exported) as folder, served(folder) as address:
        page = opened(browser, address)
        yield InBrowser(page)
        page.close()


def prepared(graph: Graph, image: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return load_input(image, graph.manifest.input)[np.newaxis]


def test_floats_are_within_a_thousandth_and_answers_the_predictors(lowered: Graph, give: Give, bench: InBrowser) -> None:
    whole = give(lowered)
    predictor = Predictor.open(whole.with_name("model.onnx"), engine="onnx")
    peak = bench.open(whole, lowered.manifest, runtime="native")
    assert 0 < peak <= max(plan(lowered).size_bytes, fused_plan(lowered).size_bytes) + 200_000
    for image in IMAGES:
        batch = prepared(lowered, image)
        expected, found = predictor.run(batch), bench.run(batch)
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            assert found[name].shape == values.shape
            assert np.abs(found[name] - values).max() <= TOLERANCE * np.abs(values).max(), name
        answer = predictor.predict(image)
        SAME[type(answer)](bench.predict(image), answer)


def test_integers_are_the_reference_executors_to_the_bit(lowered: Graph, give: Give, bench: InBrowser) -> None:
    graph = quantize(lowered, np.concatenate([prepared(lowered, image) for image in IMAGES])).graph
    bench.open(give(graph), graph.manifest, runtime="native")
    for image in IMAGES:
        batch = prepared(lowered, image)
        for name, values in reference.run(graph, batch).items():
            np.testing.assert_array_equal(bench.run(batch)[name], values)


def test_what_is_wrong_with_a_network_is_said_and_the_next_one_opens(give: Give, tmp_path: Path, bench: InBrowser) -> None:
    from playwright.sync_api import Error

    graph = lower(trained(mobilenets.create(SPECS["classify"])))
    whole = give(graph)
    data = whole.read_bytes()
    for damaged, problem in [
        (data[:1000], "its header is longer than the file"),
        (data.replace(b"hard_swish", b"hard_swosh", 1), "is 'hard_swosh', which is unknown"),
        (data[: len(data) // 2], "an offset of the tensor"),
        (b"", "it is too short"),
    ]:
        (tmp_path / "damaged.graph").write_bytes(damaged)
        with pytest.raises(Error, match=f"The network does not run: .*{problem}"):
            bench.open(tmp_path / "damaged.graph", graph.manifest, runtime="native")
    bench.open(whole, graph.manifest, runtime="native")
    with pytest.raises(Error, match=r"takes an image of 1 . 3 . 48 . 48 numbers, not of 1 . 3 . 8 . 8"):
        bench.run(np.zeros((1, 3, 8, 8), np.float32))
    assert bench.run(prepared(graph, IMAGES[0]))["logits"].shape == (1, 3)


def test_both_modules_run_in_the_page(native_engine: Path, give: Give, bench: InBrowser) -> None:
    graph = lower(trained(mobilenets.create(SPECS["classify"])))
    whole, batch = give(graph), prepared(graph, IMAGES[0])
    asked = []
    bench.page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    bench.open(whole, graph.manifest, runtime="native")
    expected = bench.run(batch)["logits"]
    assert asked[-1] == "engine_relaxed.wasm"
    bench.page.route("**/engine_relaxed.wasm", lambda route: route.fulfill(path=native_engine / "engine.wasm"))
    bench.open(whole, graph.manifest, runtime="native")
    np.testing.assert_allclose(bench.run(batch)["logits"], expected, atol=1e-4 * np.abs(expected).max())
    bench.page.unroute("**/engine_relaxed.wasm")


def opened(browser: Browser, address: str) -> Page:
    page = browser.new_page(service_workers="block")
    page.goto(address)
    page.wait_for_selector(SETTLED, timeout=READY_MS)
    return page


def test_it_is_a_candidate_of_an_exported_page(exported: Path, browser: Browser) -> None:
    with page_of(exported) as folder, served(folder) as address:
        listed = json.loads((folder / "model" / "model.json").read_text())["networks"]
        assert [network["runtime"] for network in listed][:2] == ["native", "onnx"]
        assert listed[0]["weights"] == "model.onnx"
        page = opened(browser, address)
        assert "our own engine on 1 thread" in page.locator("#engine").inner_text()
        page.close()


def test_the_page_of_a_quantized_run_has_it_too(lowered: Graph, tmp_path: Path, browser: Browser) -> None:
    import onnx

    graph = quantize(lowered, np.concatenate([prepared(lowered, image) for image in IMAGES])).graph
    file.save(graph, tmp_path / "graph.safetensors")
    (tmp_path / "export").mkdir()
    onnx.save(to_onnx(graph), tmp_path / "export" / "model.onnx")
    with page_of(tmp_path) as folder, served(folder) as address:
        listed = json.loads((folder / "model" / "model.json").read_text())["networks"]
        assert [network["runtime"] for network in listed] == ["native", "onnx"]
        page = opened(browser, address)
        assert "our own engine on 1 thread" in page.locator("#engine").inner_text()  # whichever was the fastest
        page.close()


def test_the_first_visit_is_ready_before_the_other_runtimes_are_there(exported: Path, browser: Browser) -> None:
    with page_of(exported) as folder, served(folder) as address:
        page = browser.new_page(service_workers="block")
        held: list[Route] = []
        page.route("**/engines/onnx/**", lambda route: held.append(route))  # never answered while the test looks
        page.goto(address)
        page.wait_for_selector("html[data-state=ready]", timeout=READY_MS)
        assert "Runs with our own engine" in page.locator("#engine").inner_text()
        assert page.locator(SETTLED).count() == 0
        for route in held:
            route.abort()
        page.close()


def test_a_page_that_was_built_without_it_leaves_it_out(
    built_page: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(built_page, tmp_path / "page")
    shutil.rmtree(tmp_path / "page" / "engines" / "native")
    monkeypatch.setattr(folders, "_PAGE", tmp_path / "page")
    with page_of(exported) as folder:
        listed = json.loads((folder / "model" / "model.json").read_text())["networks"]
        assert "native" not in [network["runtime"] for network in listed]
        assert not (folder / "model" / "model.operators").exists()


def test_an_engine_that_does_not_open_is_left_out(exported: Path, tmp_path: Path, browser: Browser) -> None:
    (tmp_path / "model.operators").write_bytes(b"\x10\0\0\0\0\0\0\0no graph")
    manifest = Predictor.open(exported, engine="onnx").manifest
    write_page(tmp_path / "page", manifest, {"native": tmp_path / "model.operators", "onnx": exported})
    with served(tmp_path / "page") as address:
        page = opened(browser, address)
        assert "Runs with ONNX Runtime" in page.locator("#engine").inner_text()
        page.close()


def test_the_operators_and_the_weights_are_the_graph(lowered: Graph, give: Give) -> None:
    whole = give(lowered).read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8:end])
    file.save(lowered, give(lowered).with_name("as_saved"))
    saved = load_file(give(lowered).with_name("as_saved"))
    assert header.keys() - {"__metadata__"} == saved.keys()
    for name, tensor in saved.items():
        begin, after = header[name]["data_offsets"]
        assert whole[end + begin : end + after] == tensor.tobytes()
        assert tuple(header[name]["shape"]) == tensor.shape
