"""Parts of a bulk prediction: what belongs to them, and what their files hold. No workers are needed for that."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.bulk import stores
from mobilenets.bulk.flow import Asked, predict
from mobilenets.bulk.model import files_of
from mobilenets.bulk.plan import Plan, divided, keep, kept, named, read
from mobilenets.bulk.work import predict_part
from mobilenets.errors import DataError, MobileNetsError, UsageError
from mobilenets.runtime.predictor import Predictor

registry = pytest.importorskip("fsspec.registry", reason="fsspec is not installed")
pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")


def png(color: str, size: tuple[int, int] = (20, 16)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def images(folder: Path, count: int = 5) -> Path:
    folder.mkdir(parents=True)
    for i in range(count):
        (folder / f"{i}.png").write_bytes(png(("red", "lime", "blue")[i % 3]))
    return folder


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def rows(out: Path, number: int) -> list[dict[str, object]]:
    import pyarrow.parquet

    table: list[dict[str, object]] = pyarrow.parquet.read_table(out / f"part-{number:06d}.parquet").to_pylist()
    return table


def test_a_part_is_some_images_or_a_tar_file_and_no_image_is_in_two(tmp_path: Path) -> None:
    folder = images(tmp_path / "images", 20)
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    shard = tar(tmp_path / "images" / "more.tar", {"a.png": png("red")})
    parts = divided(named([str(folder), str(folder / "3.png"), str(shard)]), workers=2)
    assert parts[0] == (str(shard),)
    assert [len(part) for part in parts[1:]] == [3, 3, 3, 3, 3, 3, 2]
    assert sorted(name for part in parts[1:] for name in part) == sorted(str(folder / f"{i}.png") for i in range(20))


def test_masks_of_a_dataset_in_a_tar_file_are_not_predicted(tmp_path: Path) -> None:
    shard = tar(tmp_path / "a.tar", {"0.png": png("red"), "0.mask.png": png("blue"), "mask.png": png("lime"), "1.seg.png": b""})
    assert [held.name for held in stores.members(str(shard))] == [f"{shard}/0.png", f"{shard}/mask.png"]


def test_results_do_not_go_among_the_images(tmp_path: Path, color_model: Path) -> None:
    folder = images(tmp_path / "images")
    before = sorted(folder.iterdir())
    with pytest.raises(UsageError, match="holds the images"):
        predict(color_model, [str(folder)], f"{folder}/", Asked())
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("source", ["nowhere", "empty"])
def test_a_source_without_images_is_named(tmp_path: Path, source: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=source):
        named([str(tmp_path / source)])


def test_no_cluster_is_asked_for_where_there_are_no_images(
    tmp_path: Path, color_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # where none answers
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        predict(color_model, [str(tmp_path / "empty")], str(tmp_path / "out"), Asked())
    assert not (tmp_path / "out").exists()


def test_no_cluster_is_asked_for_where_all_parts_are_there(
    tmp_path: Path, color_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # where none answers
    predictor = Predictor.open(color_model, threads=1)
    source, out = str(images(tmp_path / "images", 2)), str(tmp_path / "out")
    keep(Plan(files_of(predictor)[0], (source,), 5, None, (tuple(named([source])),)), out)
    predict_part(predictor, 0, named([source]), out, top=5)
    done = predict(color_model, [source], out, Asked())
    assert (done.images, done.parts, done.earlier) == (2, 1, 1)


@pytest.mark.parametrize("which", ["source", "out", "source of a plan"])
def test_no_cluster_is_asked_for_where_the_library_of_a_store_is_missing(
    which: str, tmp_path: Path, color_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.known_implementations, "lost", {"class": "lost_store.Store", "err": "Get it"})
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # where none answers
    out = str(tmp_path / "out") if which != "out" else "lost://bucket/out"
    source = str(images(tmp_path / "images")) if which == "out" else "lost://bucket/photos/"
    if which == "source of a plan":
        predictor = Predictor.open(color_model)
        keep(Plan(files_of(predictor)[0], (source,), 5, None, ((f"{source}1.png",),)), out)
    with pytest.raises(MobileNetsError, match="needs 'lost_store', which is not installed") as caught:
        predict(color_model, [source], out, Asked())
    assert caught.value.hint == "pip install lost_store"


def test_an_address_of_no_store_is_refused() -> None:
    with pytest.raises(UsageError, match="is not the address of a store"):
        stores.found("nostore://bucket/images")


def test_every_image_has_a_row_with_what_predict_says_or_the_reason(tmp_path: Path, color_model: Path) -> None:
    folder = images(tmp_path / "images", 3)
    (folder / "1.png").write_bytes(b"no image")
    predictor = Predictor.open(color_model, threads=1)
    sources = [str(folder / f"{i}.png") for i in (0, 1, 2)] + [str(folder / "gone.png")]
    assert predict_part(predictor, 4, sources, str(tmp_path / "out"), top=2) == (4, 2)
    red, broken, blue, gone = rows(tmp_path / "out", 4)
    for row, source in ((red, sources[0]), (blue, sources[2])):
        told = json.loads(predictor.predict(Path(source)).to_json())
        assert (row["file"], row["error"], row["label"]) == (source, None, told["label"])
        assert row["top"] == told["top"][:2]
    assert (broken["label"], broken["top"]) == (None, None)
    assert "not an image" in str(broken["error"])
    assert "No such file" in str(gone["error"])


def test_boxes_have_one_schema_also_where_there_are_none(tmp_path: Path, cell_model: Path) -> None:
    import pyarrow.parquet

    folder = images(tmp_path / "images", 2)
    predictor = Predictor.open(cell_model, threads=1)
    strict = predictor.with_threshold(0.999999)
    predict_part(predictor, 0, [str(folder / "0.png")], str(tmp_path / "out"), top=5)
    predict_part(strict, 1, [str(folder / "1.png")], str(tmp_path / "out"), top=5)
    schemas = [pyarrow.parquet.read_schema(tmp_path / "out" / f"part-00000{i}.parquet") for i in (0, 1)]
    assert schemas[0] == schemas[1]
    [row] = rows(tmp_path / "out", 0)
    assert row["boxes"] == json.loads(predictor.predict(folder / "0.png").to_json())["boxes"]


def test_the_images_of_a_tar_file_before_the_place_where_it_breaks_off_count(tmp_path: Path, color_model: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    path = tar(tmp_path / "s.tar", {"a/1.png": png("blue"), "a/1.cls": b"0", "2.png": buffer.getvalue()})
    path.write_bytes(path.read_bytes()[:6000])
    predictor = Predictor.open(color_model, threads=1)
    assert predict_part(predictor, 0, [str(path)], str(tmp_path / "out"), top=1) == (2, 1)
    first, last = rows(tmp_path / "out", 0)
    assert (first["file"], first["label"]) == (f"{path}/a/1.png", "blue")
    assert last["file"] == str(path)
    assert "cannot be read to its end" in str(last["error"])


def test_a_part_that_is_written_again_is_the_same_file(tmp_path: Path, color_model: Path) -> None:
    sources = sorted(map(str, images(tmp_path / "images").iterdir()))
    predictor = Predictor.open(color_model, threads=1)
    written = []
    for _ in range(2):
        predict_part(predictor, 0, sources, str(tmp_path / "out"), top=5)
        written.append((tmp_path / "out" / "part-000000.parquet").read_bytes())
    assert written[0] == written[1]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["part-000000.parquet"]


def test_a_plan_that_cannot_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"plan\.json' cannot be read: No such file"):
        read(str(tmp_path))
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(DataError, match=r"plan\.json' is damaged"):
        read(str(tmp_path))


def test_results_of_something_else_are_not_mixed(tmp_path: Path, color_model: Path) -> None:
    from mobilenets.bulk.model import files_of

    model, _ = files_of(Predictor.open(color_model, threads=1))
    out = str(tmp_path / "out")
    plan = Plan(model, ("a",), 5, None, (("a/1.png",), ("a/2.png",)))
    assert kept(out, model=model, sources=["a"], top=5, threshold=None) is None
    keep(plan, out)
    assert kept(out, model=model, sources=["a"], top=5, threshold=None) == plan
    with pytest.raises(UsageError, match="another sources and top"):
        kept(out, model=model, sources=["b"], top=1, threshold=None)
    (tmp_path / "out" / "plan.json").write_text("{")
    with pytest.raises(DataError, match=r"plan\.json' is damaged"):
        kept(out, model=model, sources=["a"], top=5, threshold=None)
    (tmp_path / "out" / "plan.json").rename(tmp_path / "out" / "part-000000.parquet")
    with pytest.raises(UsageError, match=r"holds results, but no plan\.json"):
        kept(out, model=model, sources=["a"], top=5, threshold=None)
