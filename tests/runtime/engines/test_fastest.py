"""The fastest runtime is chosen once, by measuring, and the choice is remembered; answers decide who may be chosen at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenets.errors import CheckpointError, MissingExtraError, UnknownNameError
from mobilenets.runtime.engines.base import Engine, Outputs
from mobilenets.runtime.engines.fastest import Candidate, fastest
from mobilenets.runtime.engines.open import candidates_in
from mobilenets.runtime.engines.table import Runtime
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.model import InputContract

MANIFEST = Manifest("nap", ("red", "green", "blue"), InputContract(size=16))


class Nap(Engine):
    """Computes for as many ms as its file says; a second number multiplies its logits. It notes each opening."""

    outputs = ("logits",)
    opened: list[str] = []  # noqa: RUF012  # shared on purpose

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self.path, self.source = path, str(path)
        texts = path.read_text().split()
        if texts == ["damaged"]:
            raise CheckpointError(f"'{path}' is damaged")
        self.ms, self.factor = float(texts[0]), float(texts[1]) if len(texts) > 1 else 1.0
        Nap.opened.append(path.suffix)

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        end = time.thread_time() + self.ms / 1000
        while self.ms and time.thread_time() < end:
            pass
        return {"logits": self.factor * batch.mean(axis=(2, 3))}

    def manifest(self) -> Manifest:
        return MANIFEST


# fmt: off
ENGINES = {
    ".one":  Runtime("One", Nap, "one"),
    ".two":  Runtime("Two", Nap, "two", also=(".one",)),
    ".gone": Runtime("Gone", Nap, "gone", module="no_such_module", extra="tflite"),
    ".away": Runtime("Away", Nap, "away", systems=("no such system",)),
}
# fmt: on


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Nap.opened.clear()
    return tmp_path / "cache" / "mobilenets" / "engines"


def write(folder: Path, **texts: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for ending, text in texts.items():
        (folder / f"model.{ending}").write_text(text)
    return folder


def chosen(path: Path, engine: str | None = None) -> Predictor:
    return Predictor.open(path, engines=ENGINES, engine=engine)


@pytest.mark.parametrize(("one", "two", "best"), [("3", "12", "one"), ("12", "3", "two")])
def test_the_fastest_of_a_folder_is_opened_and_says_so(tmp_path: Path, one: str, two: str, best: str) -> None:
    predictor = chosen(write(tmp_path / "export", one=one, two=two))
    assert predictor.engine.source == str(tmp_path / "export" / f"model.{best}")
    assert predictor.choice is not None
    assert predictor.choice.name == best
    assert predictor.choice.times_ms.keys() == {"one", "two"}
    assert f"chosen='{best} (measured once, one image: one " in repr(predictor)
    assert predictor.with_head(MANIFEST.head).choice == predictor.choice


@pytest.mark.parametrize("busy", [True, False])
def test_on_a_busy_machine_the_time_that_was_computed_decides(tmp_path: Path, busy: bool) -> None:
    """The first waits and computes little, as if other programs had the processor; the second computes all the time."""

    class Waits(Nap):
        def run(self, batch: NDArray[np.float32]) -> Outputs:
            time.sleep(0.25)
            return super().run(batch)

    folder = write(tmp_path, one="2", two="8")
    waits = Candidate("waits", Runtime("Waits", Waits, "waits"), folder / "model.one")
    computes = Candidate("computes", ENGINES[".two"], folder / "model.two")
    assert fastest([waits, computes], cache=tmp_path / "kept", busy=busy)[1].name == ("waits" if busy else "computes")


def test_equally_fast_runtimes_are_taken_in_the_order_of_the_table(tmp_path: Path) -> None:
    choice = chosen(write(tmp_path, one="5", two="5")).choice
    assert choice is not None
    times = choice.times_ms
    assert choice.name == ("one" if times["one"] <= 1.03 * times["two"] else "two")


def test_the_choice_is_remembered_until_a_file_changes(tmp_path: Path) -> None:
    folder = write(tmp_path / "export", one="12", two="3")
    assert chosen(folder).choice == chosen(folder).choice
    Nap.opened.clear()
    assert chosen(folder).engine.source.endswith(".two")
    assert Nap.opened == [".two"]
    write(folder, two="30.0")
    assert chosen(folder).engine.source.endswith(".one")


def test_a_file_of_another_training_is_left_out_however_fast_it_is(tmp_path: Path) -> None:
    choice = chosen(write(tmp_path, one="6 1.0", two="2 1.3")).choice
    assert choice is not None
    assert choice.name == "one"
    assert choice.left_out == {"two": "its file computes something else; was it exported before the last training?"}


def test_a_file_that_cannot_be_opened_is_left_out(tmp_path: Path) -> None:
    choice = chosen(write(tmp_path, one="3", two="damaged")).choice
    assert choice is not None
    assert choice.name == "one"
    assert "is damaged" in choice.left_out["two"]


def test_engine_overrides_without_measuring(tmp_path: Path, cache: Path) -> None:
    folder = write(tmp_path / "export", one="3", two="12")
    assert chosen(folder, "two").engine.source.endswith(".two")
    assert Nap.opened == [".two"]
    assert not cache.exists()


def test_an_engine_that_cannot_be_had_is_named_with_what_to_do(tmp_path: Path) -> None:
    folder = write(tmp_path / "export", two="3", gone="3")
    with pytest.raises(CheckpointError, match=r"export' has 'model\.two', 'model\.gone', which One does not read") as error:
        chosen(folder, "one")
    assert "mobilenets export RUN --to one" in error.value.hint
    with pytest.raises(UnknownNameError, match="unknown runtime 'tow'; did you mean 'two'"):
        chosen(folder, "tow")
    with pytest.raises(MissingExtraError, match="'ai-edge-litert', which is not installed"):
        Predictor.open(write(tmp_path / "other", tflite="x"), engines={".tflite": Runtime("X", needs_litert, "x", "no_such")})


def needs_litert(path: Path, threads: int | None = None) -> Engine:
    raise MissingExtraError("ai-edge-litert", "tflite")


def test_a_runtime_that_does_not_run_here_is_no_candidate(tmp_path: Path) -> None:
    folder = write(tmp_path, gone="3", two="3", away="1")
    assert [candidate.name for candidate in candidates_in(folder, ENGINES)] == ["two", "gone", "away"]
    assert chosen(folder).engine.source.endswith(".two")


def test_a_single_file_is_opened_by_the_fastest_of_those_that_read_it(tmp_path: Path) -> None:
    folder = write(tmp_path, one="3", two="12")
    assert [candidate.name for candidate in candidates_in(folder / "model.one", ENGINES)] == ["one", "two"]
    assert [candidate.name for candidate in candidates_in(folder / "model.two", ENGINES)] == ["two"]
    predictor = chosen(folder / "model.one")
    assert predictor.engine.source.endswith("model.one")
    assert predictor.choice is not None
    assert predictor.choice.times_ms.keys() == {"one", "two"}


def test_a_network_that_is_quick_anyway_is_not_worth_a_measurement(tmp_path: Path, cache: Path) -> None:
    predictor = chosen(write(tmp_path / "export", one="0", two="0"))
    assert Nap.opened == [".one"]
    assert not cache.exists()
    assert "chosen" not in repr(predictor)


def test_measuring_ends_soon_however_close_the_runtimes_are(tmp_path: Path) -> None:
    start = time.perf_counter()
    chosen(write(tmp_path, one="5", two="6"))
    assert time.perf_counter() - start < 5  # under 2 s where nothing else runs


def test_threads_that_open_at_once_measure_once(tmp_path: Path, cache: Path) -> None:
    folder = write(tmp_path / "export", one="8", two="3")
    with ThreadPoolExecutor(4) as pool:
        names = {predictor.engine.source[-3:] for predictor in pool.map(chosen, [folder] * 4)}
    assert names == {"two"}
    assert Nap.opened.count(".one") <= 4  # each opens the first, and one of them measures
    assert Nap.opened.count(".two") == 4
    assert len(list(cache.glob("*.json"))) == 1


def test_a_cache_that_cannot_be_written_leaves_the_first(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    predictor = chosen(write(tmp_path / "export", one="8", two="3"))
    assert predictor.engine.source.endswith(".one")


@pytest.mark.parametrize("text", ["{", '{"name": "three", "times_ms": {}, "left_out": {}}', '{"name": 3}'])
def test_a_damaged_memory_is_measured_again(tmp_path: Path, cache: Path, text: str) -> None:
    folder = write(tmp_path / "export", one="8", two="3")
    chosen(folder)
    [place] = cache.glob("*.json")
    place.write_text(text)
    assert chosen(folder).engine.source.endswith(".two")
    assert json.loads(place.read_text())["name"] == "two"


def test_the_first_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is damaged"):
        fastest([Candidate("one", ENGINES[".one"], write(tmp_path, one="damaged") / "model.one")], cache=tmp_path)


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_measures_leaves_no_lock(tmp_path: Path) -> None:
    folder = write(tmp_path / "export", one="8", two="3")
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_fastest import chosen
print("ready", flush=True)
chosen(Path({str(folder)!r}))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=dict(os.environ), text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        process.kill()
    start = time.perf_counter()
    assert chosen(folder).engine.source.endswith(".two")
    assert time.perf_counter() - start < 10
