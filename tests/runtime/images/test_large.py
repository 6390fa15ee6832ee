from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from mobilenets.errors import ImageError
from mobilenets.runtime.images import large
from mobilenets.runtime.images.decode import decode_image


def test_an_image_beyond_pillows_limit_is_decoded_and_the_limit_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.new("RGB", (60, 50), "red").save(tmp_path / "large.png")
    with pytest.raises(ImageError, match="bomb"):
        decode_image(tmp_path / "large.png")
    assert large.decode(tmp_path / "large.png").size == (60, 50)
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_a_bomb_is_still_refused_and_the_limit_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "MOST", 1000)
    usual = Image.MAX_IMAGE_PIXELS
    Image.new("RGB", (60, 50)).save(tmp_path / "bomb.png")
    with pytest.raises(ImageError, match="1,000 pixels"):
        large.decode(tmp_path / "bomb.png")
    assert usual == Image.MAX_IMAGE_PIXELS
