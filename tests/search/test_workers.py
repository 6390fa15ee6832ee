"""Several workers on one study, in a PostgreSQL server that the tests start."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.search.postgres import PASSWORD, Postgres, running
from tests.search.wide import Wide

from mobilenets.data.samples import Dataset
from mobilenets.model import Model
from mobilenets.search.costs import Costs
from mobilenets.search.judge import Judged
from mobilenets.search.latency import Device, LatencyTable
from mobilenets.search.space import Space
from mobilenets.search.storage import Storage, StorageError
from mobilenets.search.study import ElsewhereError, Shapes, agree, opened
from mobilenets.search.telling import StoppedError, Telling
from mobilenets.search.turns import Turns
from mobilenets.training.loop import train
from mobilenets.training.recipe import Recipe

pytest.importorskip("optuna")
pytest.importorskip("psycopg")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """The server of these tests."""
    with running() as server:
        yield server


Start = Callable[..., Shapes]


@pytest.fixture
def worker(postgres: Postgres, model: Model, tmp_path: Path, request: pytest.FixtureRequest) -> Start:
    """Workers of one study, by name: `worker("a")`."""
    url = postgres.fresh(f"one{abs(hash(request.node.name))}")

    def start(name: str, judge: Wide | None = None, *, lost_after_s: int = 60, telling: Telling | None = None) -> Shapes:
        judge, telling = judge or Wide(), telling or Telling()
        budget = {"macs": 0.8 * Costs().macs(model.spec)}
        turns = opened(Storage(url, "both", name, lost_after_s), tmp_path / name, 0.0, telling)
        return Shapes(model, budget, Costs(), (judge, judge), turns, tmp_path / name, 0.0, 0, telling)

    return start


class Held(Wide):
    """A judge that waits within its first network until the test lets it go on."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, model: Model, seed: int) -> Judged:
        self.begun.set()
        assert self.go_on.wait(300)
        return super().__call__(model, seed)


def _choices(shapes: Shapes) -> Counter[str]:
    return Counter(json.dumps(one.choice, sort_keys=True) for one in shapes.judged())


def test_workers_that_begin_at_once_share_the_trials_and_none_is_judged_twice(worker: Start) -> None:
    names = ("a", "b", "c", "d")

    def work(name: str) -> tuple[Shapes, Wide]:
        judge = Wide()
        shapes = worker(name, judge)
        for _ in shapes.trials(20):
            pass
        return shapes, judge

    with ThreadPoolExecutor(len(names)) as pool:
        done = list(pool.map(work, names))
    shapes = done[0][0]
    judged = shapes.judged()
    assert len(judged) == 20
    assert max(_choices(shapes).values()) == 1
    assert sum(judge.judged for _, judge in done) == sum(len(one.parts) for one in judged)
    workers = Counter(trial.user_attrs["worker"] for trial in shapes.turns.trials("COMPLETE"))
    assert len(workers) > 1


def test_one_worker_chooses_the_finalists_and_the_others_hear_where(worker: Start) -> None:
    one, two = worker("a"), worker("b")
    list(one.trials(3))
    assert [sampled.number for sampled in two.judged()] == [0, 1, 2]
    with one.finishing(3, lambda: [2, 1]) as chosen:
        assert chosen == [2, 1]
        with pytest.raises(ElsewhereError, match=r"/a$") as elsewhere, two.finishing(3, lambda: [0]):
            pass
        assert len(elsewhere.value.sampled) == 3
    with pytest.raises(ElsewhereError), two.finishing(3, lambda: [0]):
        pass
    with worker("a").finishing(3, lambda: [0]) as again:  # as after --resume
        assert again == [2, 1]


def test_who_comes_while_another_takes_the_finalists_hears_where_as_soon_as_it_is_said(
    worker: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mobilenets.search.turns.LOOK_S", 0)
    saying = threading.Event()

    def stop() -> bool:
        if saying.is_set():
            trial.set_user_attr("worker", "a")
            trial.set_user_attr("place", "machine:/runs/a")
        return False

    two = worker("b", telling=Telling(stop=stop))
    list(two.trials(1))
    ending = Turns.opened(two.turns.storage, two.folder, two.telling, ["maximize"], suffix=", finalists of 1")
    trial = ending.study.ask()  # by another worker, which has not said yet who it is
    saying.set()
    with pytest.raises(ElsewhereError, match="machine:/runs/a"), two.finishing(1, lambda: [0]):
        pass


def test_finalists_of_a_worker_that_was_stopped_are_taken_up_as_they_were_chosen(worker: Start) -> None:
    list(worker("a").trials(2))
    with pytest.raises(StoppedError), worker("a").finishing(2, lambda: [1]):
        raise StoppedError
    with worker("b").finishing(2, lambda: [0]) as chosen:
        assert chosen == [1]


@pytest.mark.parametrize("count", [6, 12])  # fewer than the networks that wait from the start, and more
def test_a_worker_that_is_silent_loses_its_trial_and_another_takes_it_up(
    count: int, worker: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, said = Held(), list[str]()
    one = worker("a", held, lost_after_s=1, telling=Telling(said=said.append))
    monkeypatch.setattr(type(one.turns), "_beat", lambda self, trial, ended: ended.wait())  # as if the machine slept
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: list(one.trials(count)))
        assert held.begun.wait(60)
        (lost,) = one.turns.trials("RUNNING")
        others = worker("b", lost_after_s=1)
        list(others.trials(count))
        held.go_on.set()
        first.result()
    states = {trial.number: trial.state.name for trial in others.turns.study.trials}
    assert states[lost.number] == "FAIL"
    assert [one.choice for one in others.judged()].count(lost.params) == 1
    assert len(others.judged()) == count
    assert any(f"trial {lost.number}: this worker was silent for too long" in text for text in said)


def test_a_worker_waits_for_the_last_trials_of_others_and_does_them_if_they_stop(worker: Start) -> None:
    held, said = Held(), list[str]()
    stopping = threading.Event()
    one = worker("a", held, telling=Telling(stop=stopping.is_set))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lambda: list(one.trials(6)))
        assert held.begun.wait(60)
        two = worker("b", telling=Telling(said=said.append))
        second = pool.submit(lambda: list(two.trials(6)))
        end = time.monotonic() + 60
        while not any("waiting for other workers to judge 1 more" in text for text in said):
            assert time.monotonic() < end
            time.sleep(0.01)
        stopping.set()
        held.go_on.set()
        with pytest.raises(StoppedError):
            first.result()
        second.result()
    assert len(two.judged()) == 6
    assert max(_choices(two).values()) == 1


def test_a_study_of_another_search_is_refused(worker: Start) -> None:
    agree(worker("a").turns, {"the start": "1", "--tune": "40"})
    agree(worker("b").turns, {"the start": "1", "--tune": "40"})
    with pytest.raises(StorageError, match="belongs to another search: --tune differ") as refused:
        agree(worker("c").turns, {"the start": "1", "--tune": "4"})
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://tester:wrong-1@/postgres?host={}", "password authentication failed"),
        ("postgresql://tester:{secret}@/nowhere?host={}", 'database "nowhere" does not exist'),
    ],
)
def test_what_the_server_refuses_is_said_in_one_line(url: str, words: str, postgres: Postgres, tmp_path: Path) -> None:
    storage = Storage(url.format(postgres.folder, secret=PASSWORD))
    with pytest.raises(StorageError, match=words) as refused:
        opened(storage, tmp_path, 0.0, Telling())
    assert "\n" not in str(refused.value)
    assert not {"wrong-1", PASSWORD} & set(str(refused.value).replace(":", "@").split("@"))
    assert refused.value.hint


@contextlib.contextmanager
def _search(*arguments: str | Path, folder: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """`mobilenets search` as a process, with its output in files."""
    name = f"{len(list(folder.glob('*.out')))}"
    with (folder / f"{name}.out").open("w") as out, (folder / f"{name}.err").open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "mobilenets", "search", *map(str, arguments)],
            stdout=out,
            stderr=err,
            text=True,
            cwd=folder,
            env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), **variables},
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


@pytest.mark.slow
def test_of_two_processes_one_is_killed_and_the_other_does_its_trial_and_trains_the_finalist(
    postgres: Postgres, images: Path, model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path
) -> None:
    for _ in train(model, dataset, recipe, tmp_path / "start"):
        pass
    LatencyTable(Device("a board", "onnx")).saved_as(tmp_path / "board.jsonl")
    url = postgres.fresh("killed")
    budget = ("--max-macs", f"{0.8 * Costs().macs(model.spec):.6f}", "--table", "board.jsonl", "--ladder", "0", "--json")
    shared = ("--method", "shapes", "--trials", "14", "--tune", "8", "--storage", url, "--study", "two", "--lost-after", "4")
    asked = (images, "--start", "start", *budget, *shared)
    with (
        _search(*asked, "--out", "one", folder=tmp_path) as one,
        _search(*asked, "--out", "two", folder=tmp_path) as two,
    ):
        lost = _killed(one, url, f"{tmp_path / 'one'}", len(Space(model.spec).choices))
        assert two.wait(240) == 0, (tmp_path / "1.err").read_text()

    trials = _trials(url)
    done = [trial for trial in trials if trial.state.name == "COMPLETE"]
    assert len(done) == 14
    assert max(Counter(json.dumps(trial.params, sort_keys=True) for trial in done).values()) == 1
    (again,) = [trial for trial in done if trial.params == lost.params]
    assert again.number > lost.number
    assert trials[lost.number].state.name == "FAIL"
    found = json.loads((tmp_path / "1.out").read_text())
    assert [one["number"] for one in found["trials"]] == [trial.number for trial in done]
    assert [network["origin"] for network in found["networks"]] == ["start", "search"]

    again_asked = (images, "--out", "one", "--resume", "--json")  # the password is not in the folder
    with _search(*again_asked, folder=tmp_path, PGPASSWORD=PASSWORD) as one:
        assert one.wait(120) == 0, (tmp_path / "2.err").read_text()
    elsewhere = json.loads((tmp_path / "2.out").read_text())
    assert elsewhere["finalists"].endswith(f":{tmp_path / 'two'}")
    assert elsewhere["trials"] == found["trials"]
    assert not (tmp_path / "one" / "finalists").exists()
    written = [file for file in tmp_path.rglob("*") if file.is_file() and PASSWORD.encode() in file.read_bytes()]
    assert written == []
    assert json.loads((tmp_path / "one" / "search.json").read_text())["storage"] == postgres.url("killed", "")


def _killed(process: subprocess.Popen[str], url: str, folder: str, choices: int) -> Any:  # Any: Optuna's trial
    """Kill a worker within a training; the trial that it was at."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        running = [trial for trial in _trials(url) if trial.state.name == "RUNNING" and len(trial.params) == choices]
        mine = [trial for trial in running if trial.user_attrs.get("place", "").endswith(f":{folder}")]
        if mine:
            process.send_signal(signal.SIGSTOP)  # so that it is still at it
            now = _trials(url)[mine[0].number]
            if now.state.name == "RUNNING":
                process.send_signal(signal.SIGKILL)
                return now
            process.send_signal(signal.SIGCONT)
        assert process.poll() is None
    raise AssertionError


def _trials(url: str) -> list[Any]:  # Any: Optuna's trials
    import optuna
    from optuna.exceptions import StorageInternalError

    try:
        storage = optuna.storages.RDBStorage(url.replace("postgresql:", "postgresql+psycopg:"), skip_table_creation=True)
        return optuna.load_study(study_name="two", storage=storage).trials
    except (KeyError, StorageInternalError):  # no worker has begun
        return []
