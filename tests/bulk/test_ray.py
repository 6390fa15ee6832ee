"""Bulk prediction on the workers of Ray: one row an image, whatever is killed, on disks and in object stores."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.bulk.test_parts import images

from mobilenets.bulk.model import files_of
from mobilenets.bulk.on_ray import connected
from mobilenets.bulk.plan import Plan, keep
from mobilenets.errors import MobileNetsError
from mobilenets.runtime.predictor import Predictor

pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = pytest.mark.slow

COLORS = ((200, 20, 20), (20, 200, 20), (20, 20, 200))


def command(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "mobilenets", "predict", *map(str, arguments), "--engine", "ray", "--workers", "2", "--json"]
    return subprocess.Popen(
        line,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def answer(process: subprocess.Popen[str]) -> Mapping[str, object]:
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err
    told: Mapping[str, object] = json.loads(out)
    return told


def files_in(out: Path) -> list[dict[str, object]]:
    import pyarrow.dataset

    parts = [str(path) for path in sorted(out.glob("part-*.parquet"))]
    rows: list[dict[str, object]] = pyarrow.dataset.dataset(parts).to_table().to_pylist()
    return rows


def large(folder: Path, count: int) -> Path:
    """Images that take a while, each of one strongest color."""
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 40, (1800, 2400, 3)).astype(np.uint8)
    for i in range(count):
        Image.fromarray(noise + np.array(COLORS[i % 3], np.uint8)).save(folder / f"{i:03d}.png", compress_level=1)
    return folder


def workers_of(session: int) -> list[int]:
    """Processes of the session that hold a model."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            line = (place / "cmdline").read_bytes()
            mine = place.name.isdigit() and os.getsid(int(place.name)) == session
        except (OSError, ValueError):
            continue
        if mine and b"MapWorker" in line:
            found.append(int(place.name))
    return found


def test_each_image_has_one_row_although_a_worker_and_then_the_whole_is_killed(tmp_path: Path, color_model: Path) -> None:
    folder, out = large(tmp_path / "images", 24), tmp_path / "out"
    process = command(color_model, folder, "--out", out)
    try:
        until = time.monotonic() + 300
        while not list(out.glob("part-*")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.02)
        [victim, *_] = workers_of(process.pid)
        os.kill(victim, signal.SIGKILL)
        while len(list(out.glob("part-*"))) < 4 and process.poll() is None:
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    while workers_of(process.pid):  # what they had begun is written
        assert time.monotonic() < until
        time.sleep(0.02)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")}
    told = answer(command(color_model, folder, "--out", out))
    assert (told["images"], told["unreadable"], told["earlier"]) == (24, 0, len(before))
    assert all((out / name).stat().st_mtime_ns == written for name, written in before.items())
    rows = files_in(out)
    assert Counter(Path(str(row["file"])).name for row in rows) == dict.fromkeys((f"{i:03d}.png" for i in range(24)), 1)
    for row in rows:
        assert row["label"] == ("red", "green", "blue")[int(Path(str(row["file"])).stem) % 3]


@pytest.mark.parametrize(
    ("raised", "message", "hint"),
    [
        # as Ray on a machine that is too busy, and at a cluster that asks for a token
        (Exception("The current node timed out."), "Ray did not start: The current node timed out", "same command again"),
        (ConnectionError("Failed to connect."), "the Ray cluster at 'a:1' does not let this program in: Failed", "auth_token"),
    ],
)
def test_a_ray_that_does_not_start_is_an_error_with_a_hint(
    raised: Exception, message: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    def init(**_: object) -> None:
        raise raised

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setenv("RAY_ADDRESS", "a:1")
    with pytest.raises(MobileNetsError, match=message) as caught:
        connected()
    assert hint in caught.value.hint


def test_what_fails_on_a_worker_is_one_line(tmp_path: Path, color_model: Path) -> None:
    folder, out = images(tmp_path / "images"), tmp_path / "out"
    model, _ = files_of(Predictor.open(color_model))
    keep(Plan(model, (str(folder),), 5, None, ((str(folder / "0.png"),),)), str(out))  # and no model beside it
    process = command(color_model, folder, "--out", out)
    _, err = process.communicate(timeout=500)
    assert process.returncode == 1
    assert err.startswith("error: the prediction stopped: on a worker, ")
    assert f"{out}/model/model.onnx" in err
    assert "Traceback" not in err


@pytest.fixture
def store() -> Iterator[Mapping[str, str]]:
    """An S3 server of this machine, as the environment of those who use it."""
    pytest.importorskip("moto", reason="moto is not installed")
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }
    server.stop()


def test_images_of_a_bucket_are_answered_in_the_bucket(tmp_path: Path, color_model: Path, store: Mapping[str, str]) -> None:
    import pyarrow.parquet
    import s3fs

    system = s3fs.S3FileSystem(
        key="key", secret="secret", endpoint_url=store["AWS_ENDPOINT_URL"], client_kwargs={"region_name": "eu-central-1"}
    )
    system.mkdir("photos")
    system.put(f"{images(tmp_path / 'images', 7)}/", "photos/in/", recursive=True)
    system.pipe_file("photos/in/broken.png", b"no image")
    told = answer(command(color_model, "s3://photos/in/", "--out", "s3://photos/out", **store))
    assert (told["images"], told["unreadable"]) == (8, 1)
    assert {"plan.json", "summary.json", "model"} <= {name.rsplit("/", 1)[-1] for name in system.ls("photos/out", refresh=True)}
    rows = []
    for name in system.glob("photos/out/part-*.parquet"):
        with system.open(name) as file:
            rows += pyarrow.parquet.read_table(file).to_pylist()
    answers = {str(row["file"]).rsplit("/", 1)[-1]: row["label"] for row in rows}
    assert answers == {**{f"{i}.png": ("red", "green", "blue")[i % 3] for i in range(7)}, "broken.png": None}
