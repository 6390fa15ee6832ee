from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mobilenets.data.checks.check import check, quick_check
from mobilenets.data.checks.masks import MaskFindings, check_masks
from mobilenets.data.open import open_dataset
from mobilenets.data.samples import Dataset

LABELS = "sky,road,car"


def rings(seed: int = 0, shape: tuple[int, int] = (48, 64)) -> NDArray[np.uint8]:
    """A mask of three classes in blocks."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 3, (shape[0] // 8, shape[1] // 8))
    coarse.flat[:3] = (0, 1, 2)
    return np.kron(coarse, np.ones((8, 8))).astype(np.uint8)


def wrote(folder: Path, split: str, stem: str, mask: NDArray[np.uint8] | Image.Image, **options: Any) -> None:
    """An image of noise 64 x 48 with its mask."""
    for name in ("images", "masks"):
        (folder / split / name).mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(abs(hash((split, stem))) % 2**32).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / split / "images" / f"{stem}.png")
    image = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
    image.save(folder / split / "masks" / f"{stem}.png", **options)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six good images in train, two in val."""
    for i in range(6):
        wrote(tmp_path, "train", f"{i}", rings(i))
    for i in range(2):
        wrote(tmp_path, "val", f"{i}", rings(i + 10))
    return tmp_path


def opened(data: Path, **options: Any) -> Dataset:
    return open_dataset(data, classes=LABELS, **options)


def found(data: Path, **options: Any) -> MaskFindings:
    dataset = opened(data, **options)
    return check_masks(dataset, [(64, 48)] * len(dataset.samples))


def codes(findings: MaskFindings) -> list[str]:
    return [remark.code for remark in findings.remarks]


def test_good_masks_have_no_remarks(data: Path) -> None:
    findings = found(data)
    assert findings.remarks == ()
    assert findings.broken == frozenset()
    assert [share.images for share in findings.shares] == [(6, 2, 0)] * 3
    assert sum(share.share for share in findings.shares) == pytest.approx(1)
    assert (findings.ignored, findings.looked) == (0, 8)


def test_the_share_of_pixels_is_counted_without_ignored_ones(data: Path) -> None:
    half = np.full((48, 64), 255, np.uint8)
    half[:24] = 2
    for path in (data / "train" / "masks").iterdir():
        Image.fromarray(half).save(path)
    findings = found(data)
    in_val = sum(int((rings(i + 10) == 2).sum()) for i in range(2))
    assert findings.shares[2].pixels == 6 * 24 * 64 + in_val
    assert findings.ignored == pytest.approx(6 * 24 * 64 / (8 * 48 * 64))


def test_a_mask_of_another_size_is_named_and_broken(data: Path) -> None:
    wrote(data, "train", "odd", rings(0, (64, 48)))
    findings = found(data)
    remark = next(remark for remark in findings.remarks if remark.code == "mask-size")
    assert remark.file == "train/images/odd.png"
    assert "48 x 64 px, but the image is 64 x 48; EXIF rotates the photo" in remark.message
    assert findings.broken == {"train/images/odd.png"}


def test_a_value_that_no_class_has_is_named_with_its_share(data: Path) -> None:
    mask = rings()
    mask[:12] = 7
    wrote(data, "train", "odd", mask)
    findings = found(data)
    assert codes(findings) == ["mask-values"]
    assert "the value 7, which no class has, on 25.0% of its pixels" in findings.remarks[0].message
    assert found(data, ignore=["7"]).remarks == ()


def test_an_unreadable_mask_is_named(data: Path) -> None:
    wrote(data, "train", "odd", rings())
    (data / "train/masks/odd.png").write_bytes(b"no image")
    findings = found(data)
    assert codes(findings) == ["mask-unreadable"]
    assert findings.broken == {"train/images/odd.png"}


def test_a_mask_saved_as_jpeg_is_named(data: Path) -> None:
    wrote(data, "train", "odd", rings(), format="JPEG")
    assert "mask-lossy" in codes(found(data))


def test_a_mask_resized_by_interpolation_is_named_even_where_all_its_values_are_classes(data: Path) -> None:
    blocks = np.kron(rings()[::8, ::8] // 2 * 2, np.ones((13, 13))).astype(np.uint8)  # sky and cars
    large = Image.fromarray(np.roll(blocks, 4, axis=1))
    wrote(data, "train", "odd", large.resize((64, 48), Image.Resampling.BILINEAR))
    findings = found(data)
    assert codes(findings) == ["mask-lossy"]
    assert "was it resized by interpolation?" in findings.remarks[0].message
    wrote(data, "train", "odd", large.resize((64, 48), Image.Resampling.NEAREST))
    assert found(data).remarks == ()


def test_many_colors_without_a_class_are_taken_for_a_lossy_file(data: Path) -> None:
    (data / "palette.csv").write_text("name,r,g,b\nsky,0,0,250\nroad,90,90,90\ncar,200,0,0\n")
    colors = np.array([(0, 0, 250), (90, 90, 90), (200, 0, 0)], np.uint8)
    for path in data.glob("*/masks/*.png"):
        Image.fromarray(colors[np.asarray(Image.open(path))]).save(path)
    assert check_masks(open_dataset(data), [None] * 8).remarks == ()
    odd = Image.fromarray(colors[rings()])
    odd.resize((60, 44), Image.Resampling.BILINEAR).resize((64, 48), Image.Resampling.BILINEAR).save(data / "train/masks/0.png")
    assert codes(check_masks(open_dataset(data), [None] * 8)) == ["mask-values", "mask-lossy"]


def test_classes_never_seen_rare_or_in_one_split_only_are_named(data: Path) -> None:
    for i, path in enumerate(sorted(data.glob("*/masks/*.png"))):
        mask = np.asarray(Image.open(path)).copy()
        mask[mask == 2] = 0
        if i == 0:
            mask[0, :2] = 2
        Image.fromarray(mask).save(path)
    dataset = open_dataset(data, classes="sky,road,car,boat")
    findings = check_masks(dataset, [(64, 48)] * 8)
    assert [(remark.code, remark.message) for remark in findings.remarks] == [
        ("absent", "'car' is in no image of val, of 1"),
        ("few", "'car' is in 1 image; at least 5 are needed"),
        ("rare", "'car' has 0.008% of the pixels"),
        ("unseen", "'boat' is in no mask"),
    ]


@pytest.mark.parametrize(("first", "numbered"), [(0, True), (1, False)])
def test_masks_that_number_objects_are_doubted(tmp_path: Path, first: int, numbered: bool) -> None:
    for i in range(8):
        objects = range(1, 2 + i % 5)  # in one case there is none of the others without the ones before it
        mask = np.zeros((48, 64), np.uint8)
        for k in objects if numbered else {first, *objects[-1:]}:
            mask[:, 8 * k : 8 * k + 8] = k
        wrote(tmp_path, "train", f"{i}", mask)
    dataset = open_dataset(tmp_path)
    remarks = check_masks(dataset, [(64, 48)] * len(dataset.samples)).remarks
    assert any(remark.code == "instances" and "values 0 to 5" in remark.message for remark in remarks) == numbered


def test_a_mask_that_is_ignored_all_over_is_named(data: Path) -> None:
    wrote(data, "train", "odd", np.full((48, 64), 255, np.uint8))
    assert codes(found(data)) == ["mask-empty"]


def test_a_quick_look_takes_masks_evenly(data: Path) -> None:
    dataset = opened(data)
    findings = check_masks(dataset, [None] * 8, most=4)
    assert findings.looked == 4
    assert findings.remarks[-1].message == "4 of 8 masks were checked"
    assert {share.images for share in findings.shares} == {(3, 1, 0)}


def test_the_check_of_a_dataset_has_it_all(data: Path) -> None:
    wrote(data, "train", "odd", rings(0, (64, 48)))
    (data / "train/images/1.png").write_bytes(b"")
    for one in (quick_check, check):
        findings = one(opened(data))
        assert [item.code for item in findings.at("error")] == ["empty", "mask-size"]
        assert findings.broken == {"train/images/1.png", "train/images/odd.png"}
        assert findings.masks is not None
        assert findings.masks.looked == 8
    assert not {"no-training", "untrained"} & {item.code for item in findings.items}


def test_no_usable_mask_in_train_is_an_error(data: Path) -> None:
    for path in (data / "train/masks").iterdir():
        path.write_bytes(b"")
    assert "no-training" in [item.code for item in quick_check(opened(data)).at("error")]


def test_masks_of_a_single_class_are_an_error(data: Path) -> None:
    for path in data.rglob("masks/*.png"):
        Image.fromarray(np.ones((48, 64), np.uint8)).save(path)
    (error,) = check(opened(data)).at("error")
    assert (error.code, error.message.partition(",")[0]) == ("one-class", "every pixel is of the class 'road' or ignored")
    assert quick_check(opened(data)).at("error") == (error,)
