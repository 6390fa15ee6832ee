"""A single image is computed by all threads where that is faster; streams, and callers that come at once, are as before."""

from __future__ import annotations

import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenets.errors import CheckpointError
from mobilenets.runtime.engines import fastest
from mobilenets.runtime.engines.base import Engine, Outputs
from mobilenets.runtime.engines.table import Runtime
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.model import InputContract

MANIFEST = Manifest("nap", ("red", "green", "blue"), InputContract(size=16))
IMAGE = np.full((16, 16, 3), 200, np.uint8)

ran: list[str] = []
"""What each run was: the file's ending and the threads."""

open_now: list[Engine] = []


class Nap(Engine):
    """Computes for as many ms as its file says, the first number with one thread and the second with several."""

    outputs = ("logits",)
    concurrent = True

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self.source = str(path)
        one, several = map(float, path.read_text().split())
        if threads != 1 and several < 0:
            raise CheckpointError(f"'{path}' takes one thread only")
        self.ms = one if threads == 1 else several
        self.name = f"{path.suffix[1:]} {threads}"
        open_now.append(self)

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        ran.append(self.name)
        end = time.thread_time() + self.ms / 1000
        while time.thread_time() < end:
            pass
        return {"logits": batch.mean(axis=(2, 3))}

    def manifest(self) -> Manifest:
        return MANIFEST

    def close(self) -> None:
        open_now.remove(self)


ENGINES = {".one": Runtime("One", Nap, "one"), ".two": Runtime("Two", Nap, "two")}


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fastest, "is_busy", lambda: False)
    open_now.clear()


def predictor(folder: Path, threads: int = 2, **texts: str) -> Predictor:
    folder.mkdir(parents=True, exist_ok=True)
    for ending, text in texts.items():
        (folder / f"model.{ending}").write_text(text)
    return Predictor.open(folder, threads=threads, engines=ENGINES)


@pytest.mark.parametrize(
    ("one", "two", "stream", "alone"),
    [
        ("3 9", "9 9", "one 1", "one 1"),  # several threads are slower
        ("9 3", "14 9", "one 1", "one 2"),
        ("9 14", "14 3", "one 1", "two 2"),  # another runtime makes more of several threads
        ("4 -1", "9 14", "one 1", "one 1"),
    ],
)
def test_each_way_has_the_engine_that_is_the_fastest_there(tmp_path: Path, one: str, two: str, stream: str, alone: str) -> None:
    opened = predictor(tmp_path / "export", one=one, two=two)
    opened.predict(IMAGE)
    ran.clear()
    answer = str(opened.predict(IMAGE))
    assert ran == [alone]
    ran.clear()
    assert [str(result.prediction) for result in opened.stream([IMAGE] * 6)] == [answer] * 6
    assert set(ran) == {stream}
    assert len(open_now) == (1 if alone == stream else 2)
    assert f"alone='{alone.replace(' 2', ' on 2 threads').removesuffix(' 1')} (measured once, one image: " in repr(opened)
    opened.close()
    assert open_now == []


def test_the_choice_is_remembered(tmp_path: Path) -> None:
    predictor(tmp_path / "export", one="9 3", two="14 9").predict(IMAGE)
    again = predictor(tmp_path / "export")
    ran.clear()
    again.predict(IMAGE)
    assert ran == ["one 2"]


def test_one_thread_measures_and_opens_nothing_more(tmp_path: Path) -> None:
    opened = predictor(tmp_path / "export", threads=1, one="3 1", two="9 1")
    count = len(open_now)
    opened.predict(IMAGE)
    assert len(open_now) == count
    assert ran[-1] == "one 1"


def test_a_quick_network_and_a_busy_machine_stay_with_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = predictor(tmp_path / "quick", one="0 0", two="0 0")
    quick.predict(IMAGE)
    assert ran[-1] == "one 1"
    monkeypatch.setattr(fastest, "is_busy", lambda: True)
    predictor(tmp_path / "slow", one="9 3").predict(IMAGE)
    assert ran[-1] == "one 1"
    monkeypatch.setattr(fastest, "is_busy", lambda: False)
    predictor(tmp_path / "slow").predict(IMAGE)  # nothing was remembered while it was busy
    assert ran[-1] == "one 2"


def test_callers_that_come_at_once_do_not_wait_for_each_other(tmp_path: Path) -> None:
    opened = predictor(tmp_path / "export", one="30 20")
    opened.predict(IMAGE)
    ran.clear()
    start = threading.Barrier(4)

    def ask(_: int) -> str:
        start.wait()
        return str(opened.predict(IMAGE))

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(ask, range(4)))) == 1
    assert "one 1" in ran
    assert ran.count("one 2") >= 1


def test_other_thresholds_and_other_processes_have_it_too(tmp_path: Path) -> None:
    opened = predictor(tmp_path / "export", one="9 3")
    opened.predict(IMAGE)
    for other in (opened.with_head(MANIFEST.head), pickle.loads(pickle.dumps(opened))):
        ran.clear()
        other.predict(IMAGE)
        assert ran[-1] == "one 2"
