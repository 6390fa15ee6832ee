"""The engines of the page against each other, in headless Chromium: a network in each precision, all taking turns.

The networks have random weights, and their integers are fitted to one image: only the speed is compared. Each engine runs in a
worker of its own, as in the page, and what is timed is what the page times: the image goes to the worker, the outputs come
back. Prints the least, the tenth percentile and the median of all runs, and the median of the ratios to our own engine, round
by round, with the quartiles. On a machine that does other work as well, the least and the ratios say more than the median.
It takes the page, which `make web` builds, `pip install playwright`, and a Chromium, which `MOBILENETS_CHROMIUM` may name.

    taskset -c 0 python benchmarks/browser.py --models mobilenet_v2 mobilenet_v3_small --rounds 30
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, sync_playwright

import mobilenets
from mobilenets.deploy.browser import networks
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.deploy.write_onnx import to_onnx
from mobilenets.deploy.write_tflite import to_tflite
from mobilenets.exporters.lower import lower
from mobilenets.web.folder import page_folder, write_page
from mobilenets.web.server import page_server

OURS = "native"
RUNS_A_TURN = 3
MODELS = ("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v4_conv_small")

_OPEN = """async (settings) => {
    const { predictor, manifest } = window.mobilenets;
    const site = await (await fetch("model/model.json")).json();
    const bytes = async (file) => new Uint8Array(await (await fetch(`model/${file}`)).arrayBuffer());
    const joined = (parts) => new Blob(parts).arrayBuffer().then((buffer) => new Uint8Array(buffer));
    window.opened = {};
    for (const { runtime, file, weights } of site.networks) {
        const network = await joined(await Promise.all([file, weights].filter(Boolean).map(bytes)));
        for (const threads of runtime === "native" ? [1] : settings) {
            const folder = new URL(`engines/${runtime}/`, location.href).href;
            const candidate = { runtime, network: async () => network, folder, setting: { threads } };
            const start = performance.now();
            const opened = await predictor.constructor.open(candidate, manifest);
            window.opened[`${runtime}, ${threads}`] = { opened, ms: performance.now() - start };
        }
    }
    return Object.fromEntries(Object.entries(window.opened).map(([name, { ms }]) => [name, ms]));
}"""

_TURN = """async ([name, runs, dims]) => {
    const data = new Float32Array(dims.reduce((count, side) => count * side, 1)).map((_, i) => Math.sin(i / 9));
    const { opened } = window.opened[name];
    const image = { data, dims };
    await opened.ask("run", { image });
    const times = [];
    for (let i = 0; i < runs; i += 1) {
        const start = performance.now();
        await opened.ask("run", { image });
        times.push(performance.now() - start);
    }
    return times;
}"""


def graphs(model: str, size: int) -> Iterator[tuple[str, Graph]]:
    """The network in floats and in integers."""
    labels = tuple(map(str, range(1000)))
    spec = mobilenets.ModelSpec(mobilenets.backbone(model), labels, mobilenets.InputContract(size=size))
    floats = lower(mobilenets.create(spec))
    yield "float32", floats
    image = np.random.default_rng(0).normal(size=(1, 3, size, size)).astype(np.float32)
    yield "int8", quantize(floats, image).graph


@contextmanager
def site(graph: Graph) -> Iterator[str]:
    """The address of the page with a network, with every file that some engine of the page can run."""
    import onnx

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        onnx.save(to_onnx(graph), folder / "model.onnx")
        (folder / "model.tflite").write_bytes(to_tflite(graph))
        files = {**networks(folder / "model.onnx", folder, graph), "tflite": folder / "model.tflite"}
        write_page(folder / "page", graph.manifest, files)
        with page_server(folder / "page") as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}/"
            finally:
                server.shutdown()
                thread.join()


def measured(browser: Browser, address: str, graph: Graph, threads: list[int], rounds: int) -> None:
    """Print what each engine takes."""
    page = browser.new_page(service_workers="block")
    start = time.perf_counter()
    page.goto(address)
    for state in ("html[data-state=ready]", "html[data-engine=settled]"):
        page.wait_for_selector(state, timeout=120_000)
        print(f"  {state} after {time.perf_counter() - start:.1f} s")
    opening: dict[str, float] = page.evaluate(_OPEN, threads)
    contract = graph.manifest.input
    dims = [1, contract.channels, *contract.shape]
    times: dict[str, list[list[float]]] = {name: [] for name in opening}
    for _ in range(rounds):
        for name, turns in times.items():
            turns.append(page.evaluate(_TURN, [name, RUNS_A_TURN, dims]))
    ours = np.min(times[f"{OURS}, 1"], axis=1)
    for name, turns in times.items():
        least, tenth, median = np.quantile(turns, (0, 0.1, 0.5))
        low, middle, high = np.quantile(np.min(turns, axis=1) / ours, (0.25, 0.5, 0.75))
        print(
            f"  {name:10} {least:7.2f} {tenth:7.2f} {median:7.2f} ms   ratio {middle:.2f} ({low:.2f} to {high:.2f})   "
            f"opens in {opening[name]:.0f} ms",
            flush=True,
        )
    page.close()


def main() -> None:
    """Print the bytes of each engine, and a table for each network and precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--precisions", nargs="+", default=["float32", "int8"], choices=["float32", "int8"])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", nargs="+", type=int, default=[1], help="of the engines that have threads")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    for file in sorted((page_folder() / "engines").rglob("*.wasm")):
        print(f"{file.parent.name}/{file.name}: {file.stat().st_size:,} bytes")
    chromium = os.environ.get("MOBILENETS_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        print(f"Chromium {browser.version}")
        for model in options.models:
            for precision, graph in graphs(model, options.size):
                if precision not in options.precisions:
                    continue
                print(f"{model} {options.size} px, {precision}: least, tenth percentile, median")
                with site(graph) as address:
                    measured(browser, address, graph, options.threads, options.rounds)
        browser.close()


if __name__ == "__main__":
    main()
