"""Images are decoded as a person sees them."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.runtime.images.drawn import encoded, noise, pixel, png, smooth

from mobilenets.errors import ImageError
from mobilenets.runtime.images.decode import Header, as_decoded, decode_image, failure, read_header, upright_size
from mobilenets.runtime.images.depth import eight_bits
from mobilenets.runtime.images.prepare import load_input, pixels_needed, prepare
from mobilenets.specs.model import InputContract

# what a person sees

CORNERS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[255, 255, 0], [0, 255, 255], [255, 0, 255]]], dtype=np.uint8)
STORED = {  # EXIF 2.3, table of tag 0x0112: what the camera stored of an upright image
    1: CORNERS,
    2: CORNERS[:, ::-1],
    3: CORNERS[::-1, ::-1],
    4: CORNERS[::-1],
    5: CORNERS.transpose(1, 0, 2),
    6: np.rot90(CORNERS, 1),
    7: CORNERS[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(CORNERS, -1),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_undone(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(np.ascontiguousarray(STORED[orientation])), kind, exif=exif, **options)
    assert np.array_equal(np.asarray(decode_image(data)), CORNERS)
    assert upright_size(data) == CORNERS.shape[1::-1]


def test_a_jpeg_decoded_small_is_still_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(smooth(800, 400), "JPEG", exif=exif)
    assert decode_image(data, at_least=100).size == (100, 200)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_spoil_the_image() -> None:
    data = encoded(smooth(40, 30), "JPEG", exif=b"Exif\0\0MM\0*\0\0\xff\xff\xff\xff")
    assert decode_image(data).size == (40, 30)


def test_transparency_of_any_kind_lies_over_white() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([200, 0, 0, 0, 0, 200])
    palette.putdata([0, 1])
    rgba = Image.new("RGBA", (1, 1), (100, 0, 0, 128))
    assert pixel(encoded(palette, "PNG", transparency=0)) == (255, 255, 255)
    assert pixel(encoded(palette, "PNG", transparency=0), (1, 0)) == (0, 0, 200)
    assert pixel(encoded(palette, "GIF", transparency=1), (1, 0)) == (255, 255, 255)
    assert pixel(encoded(rgba, "PNG")) == (177, 127, 127)  # 255 - 128 / 255 * (255 - c)
    assert pixel(encoded(Image.new("LA", (1, 1), (10, 0)), "PNG")) == (255, 255, 255)
    assert pixel(encoded(Image.new("LA", (1, 1), (10, 255)), "PNG")) == (10, 10, 10)
    assert pixel(encoded(Image.new("L", (1, 1), 7), "PNG", transparency=7)) == (255, 255, 255)
    assert pixel(encoded(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG", transparency=(1, 2, 3))) == (255, 255, 255)
    assert pixel(encoded(rgba, "PNG"), channels=1) == 142  # 0.299 * 177 + 0.701 * 127


def test_palette_with_an_alpha_for_each_color() -> None:
    data = png(2, 1, 8, 3, b"\0\1", (b"PLTE", bytes([100, 0, 0, 0, 100, 0])), (b"tRNS", bytes([255, 0])))
    assert pixel(data) == (100, 0, 0)
    assert pixel(data, (1, 0)) == (255, 255, 255)


@pytest.mark.parametrize("value", [0, 257, 25700, 65535])
def test_16_bits_become_8_by_the_full_range(value: int) -> None:
    grey = png(1, 1, 16, 0, struct.pack(">H", value))
    color = png(1, 1, 16, 2, struct.pack(">HHH", value, 0, 65535))
    deep = Image.fromarray(np.full((1, 1), value, dtype=np.uint16))
    assert pixel(grey) == (value // 257,) * 3
    assert pixel(grey, channels=1) == value // 257
    assert pixel(color) == (value // 257, 0, 255)
    assert pixel(encoded(deep, "TIFF")) == (value // 257,) * 3


def tiff(shape: tuple[int, int], samples: int, bits: int, photometric: int, body: bytes, sample_format: int = 1) -> bytes:
    """An uncompressed little-endian TIFF written by hand."""
    height, width = shape
    extra = struct.pack(f"<{samples}H", *[bits] * samples)
    count = 10
    after = 8 + 2 + count * 12 + 4
    bits_field = struct.unpack("<I", extra.ljust(4, b"\0"))[0] if samples <= 2 else after
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, samples, bits_field), (259, 3, 1, 1), (262, 3, 1, photometric),
        (273, 4, 1, after + len(extra)), (277, 3, 1, samples), (278, 4, 1, height), (279, 4, 1, len(body)),
        (339, 3, 1, sample_format),
    ]  # fmt: skip
    directory = struct.pack("<H", count) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", 8) + directory + extra + body


def test_16_bit_color_tiff() -> None:
    assert pixel(tiff((1, 1), 3, 16, 2, struct.pack("<HHH", 65535, 25700, 0))) == (255, 100, 0)


def test_16_bit_grey_tiff_whose_zero_is_white() -> None:
    assert pixel(tiff((1, 1), 1, 16, 0, struct.pack("<H", 25700))) == (155, 155, 155)


def test_float_tiff_from_0_to_1() -> None:
    data = tiff((1, 2), 1, 32, 1, struct.pack("<ff", 0.2, 1.0), sample_format=3)
    assert pixel(data, channels=1) == 51
    assert pixel(data, (1, 0), channels=1) == 255


def test_cmyk_jpeg_with_and_without_adobe_marker() -> None:
    adobe = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100)  # no cyan: red
    start = adobe.index(b"\xff\xee")
    length = struct.unpack(">H", adobe[start + 2 : start + 4])[0]
    assert np.allclose(pixel(adobe), (255, 0, 0), atol=3)
    raw = Image.new("CMYK", (16, 16), (255, 0, 0, 255))  # stored inverted, so the file holds 0 255 255 0
    plain = encoded(raw, "JPEG", quality=100)
    plain = plain[:start] + plain[start + 2 + length :]
    assert np.allclose(pixel(plain), (255, 0, 0), atol=3)


def test_cmyk_tiff() -> None:
    assert pixel(encoded(Image.new("CMYK", (2, 2), (255, 0, 255, 0)), "TIFF")) == (0, 255, 0)


def test_one_bit_and_grey() -> None:
    assert pixel(encoded(Image.new("1", (9, 3), 1), "PNG")) == (255, 255, 255)
    assert pixel(encoded(Image.new("L", (9, 3), 90), "JPEG")) == (90, 90, 90)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_the_first_frame_of_an_animation(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50, **options)
    assert pixel(data) == (255, 0, 0)


def test_a_grey_jpeg_and_the_grey_of_a_color_jpeg() -> None:
    data = encoded(smooth(64, 48), "JPEG", quality=95)
    grey = np.asarray(decode_image(data, channels=1), dtype=int)
    oracle = np.asarray(decode_image(data).convert("L"), dtype=int)
    assert np.abs(grey - oracle).max() <= 2


# files that are no images


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        (b"", "empty", "is empty"),
        (b"<html>404</html>", "not-an-image", "is not an image, but a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "not-an-image", "but a pointer of Git LFS"),
        (b"a text", "not-an-image", "the data is not an image of a known format: it begins with 'a text'"),
        (b"\0asm\1\0\0\0\xff", "not-an-image", "it begins with the bytes 00 61 73 6d 01 00 00 00$"),
        (encoded(noise(64, 64), "JPEG")[:2000], "truncated", "truncated"),
        (encoded(noise(64, 64), "PNG")[:5000], "truncated", "truncated"),
        (encoded(noise(64, 64), "TIFF")[:5000], "truncated", "truncated"),
        (encoded(noise(64, 64), "JPEG")[:20], "damaged", "header"),
        (png(1, 1, 8, 2, b"\1\2\3")[:20], "truncated", "truncated"),
        (png(1, 1, 8, 2, b"\1\2\3")[:40], "damaged", "header"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "not-an-image", "HEIC"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not-an-image", "not an image"),
    ],
)
def test_a_broken_file_says_what_is_wrong(data: bytes, reason: str, words: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        decode_image(data)
    assert failure(caught.value) == reason


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.jpg' does not exist"):
        decode_image(tmp_path / "gone.jpg")


def test_a_header_is_read_without_the_pixels(tmp_path: Path) -> None:
    whole = encoded(noise(64, 48), "JPEG")
    (tmp_path / "a.jpg").write_bytes(whole[:2000])
    assert read_header(whole) == read_header(tmp_path / "a.jpg") == Header("JPEG", 64, 48)
    with pytest.raises(ImageError, match="does not exist"):
        read_header(tmp_path / "b.jpg")
    with pytest.raises(ImageError, match="is empty"):
        read_header(b"")


def test_a_decompression_bomb_is_refused_before_it_is_unpacked() -> None:
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 1, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    data += struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    with pytest.raises(ImageError, match="decompression bomb") as caught:
        decode_image(data)
    assert failure(caught.value) == "bomb"


def test_an_image_file_has_one_or_three_channels() -> None:
    with pytest.raises(ImageError, match="not 4"):
        decode_image(encoded(noise(4, 4), "PNG"), channels=4)
    with pytest.raises(ImageError, match="2 channels"):
        prepare(noise(4, 4), InputContract(channels=2, mean=(0.5,), std=(0.5,)))


# decoding small


@pytest.mark.parametrize(
    ("at_least", "side"), [(None, 900), (901, 900), (900, 900), (450, 450), (449, 450), (226, 450), (225, 225)]
)
def test_a_jpeg_is_shrunk_only_while_enough_pixels_remain(at_least: int | None, side: int) -> None:
    data = encoded(smooth(1200, 900), "JPEG")
    assert min(decode_image(data, at_least=at_least).size) == side


def test_decoding_small_changes_photos_by_less_than_one_level(shared: Path) -> None:
    contract = InputContract(size=224)
    for file in sorted((shared / "data" / "imagenet-sample").iterdir())[::4]:
        data = file.read_bytes()
        whole = decode_image(data)
        if min(whole.size) >= 2 * pixels_needed(contract):
            difference = np.abs(load_input(data, contract) - prepare(whole, contract))
            assert difference.mean() * 127.5 < 1, file.name


@pytest.mark.parametrize("resize", ["crop_then_stretch", "shorter_side_then_crop", "stretch", "letterbox"])
def test_decoding_small_keeps_what_the_network_sees_in_place(resize: Any) -> None:
    y, x = np.mgrid[0:904, 0:1200]
    image = Image.fromarray(np.stack([x * 255 / 1200, y * 255 / 904, (x + y) * 255 / 2104], axis=2).astype(np.uint8))
    contract = InputContract(size=96, resize=resize)
    data = encoded(image, "JPEG", quality=95)
    assert min(decode_image(data, at_least=pixels_needed(contract)).size) == 226
    exact = prepare(decode_image(data), contract)
    assert np.abs(load_input(data, contract) - exact).mean() < 1 / 127.5


def test_pillows_own_settings_are_left_alone() -> None:
    from PIL import ImageFile

    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    decode_image(encoded(noise(8, 8), "PNG"))
    after = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    assert after == before


# ---- what real files hold: long texts, few bits, infinities, too many pixels


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("place", ["before the pixels", "behind the pixels"])
@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"prompt\0\0" + zlib.compress(b"x" * (2 << 20))),
        chunk(b"iTXt", b"prompt\0\1\0\0\0" + zlib.compress(b"x" * (2 << 20))),
        chunk(b"tEXt", b"prompt\0" + b"x" * (2 << 20)) * 40,
        chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(2 << 20))),
    ],
    ids=["zTXt", "iTXt", "tEXt", "iCCP"],
)
def test_a_png_with_megabytes_of_text_or_profile_is_its_pixels(extra: bytes, place: str) -> None:
    data = encoded(Image.new("RGB", (3, 2), (10, 20, 30)), "PNG")
    at = data.index(b"IDAT" if place == "before the pixels" else b"IEND") - 4
    assert pixel(data[:at] + extra + data[at:]) == (10, 20, 30)


def test_the_transparency_of_a_png_with_long_texts_stays() -> None:
    data = png(2, 1, 8, 3, b"\0\1", (b"PLTE", bytes([100, 0, 0, 0, 100, 0])), (b"tRNS", bytes([255, 0])))
    at = data.index(b"PLTE") - 4
    data = data[:at] + chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * (2 << 20))) + data[at:]
    assert (pixel(data), pixel(data, (1, 0))) == ((100, 0, 0), (255, 255, 255))


def deep(values: Any, kind: str, dtype: Any = np.uint16, **options: Any) -> bytes:
    return encoded(Image.fromarray(np.asarray(values, dtype)), kind, **options)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0, 819, 4095]], [0, 51, 255]),  # 12 bits
        ([[0, 100, 200]], [0, 100, 200]),  # 8 bits
        ([[0, 257, 2570]], [0, 1, 10]),  # 8 bits spread over 16: a dark image stays dark
        ([[0, 4096, 65535]], [0, 16, 255]),
    ],
)
def test_few_bits_in_a_16_bit_file_are_read_by_their_own_range(kind: str, values: Any, expected: list[int]) -> None:
    image = decode_image(deep(values, kind), channels=1)
    assert np.asarray(image).tolist() == [expected]


def test_a_tiff_states_its_largest_value_itself() -> None:
    data = deep([[0, 5000, 10_000]], "TIFF", tiffinfo={281: 16_383})
    assert np.asarray(decode_image(data, channels=1)).tolist() == [[0, 78, 156]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0.0, 0.5, np.inf, -np.inf, np.nan, 1.0]], [0, 128, 255, 0, 0, 255]),
        ([[0.0, 100.0, np.inf, 200.0]], [0, 100, 200, 200]),
        ([[-1.0, 0.0, 1.0, np.nan]], [0, 128, 255, 0]),
        ([[1000.0, 3000.0, np.inf]], [0, 255, 255]),
    ],
)
def test_infinities_of_a_float_image_are_its_largest_and_smallest_values(values: Any, expected: list[int]) -> None:
    assert np.asarray(decode_image(deep(values, "TIFF", np.float32), channels=1)).tolist() == [expected]


def test_a_float_image_without_a_finite_value_is_refused() -> None:
    with pytest.raises(ImageError, match="none of its values is finite"):
        decode_image(deep([[np.nan, np.inf]], "TIFF", np.float32))


@pytest.mark.parametrize("read", [decode_image, read_header])
def test_more_pixels_than_a_file_of_its_size_can_hold_are_refused_before_they_are_unpacked(read: Any, tmp_path: Path) -> None:
    """100 megapixels of floats in one strip of which the file holds a few bytes."""
    data = tiff((50, 2_097_152), 1, 32, 1, bytes(8000), sample_format=3)
    (tmp_path / "bomb.tif").write_bytes(data)
    for source in (data, tmp_path / "bomb.tif"):
        with pytest.raises(ImageError, match=r"2,097,152 x 50 px, 400 MB .* beyond 256 MB a file may grow 1,000 times"):
            read(source)


def test_sixteen_bits_take_little_more_memory_than_the_image() -> None:
    tracemalloc = pytest.importorskip("tracemalloc")
    image = Image.new("F", (4000, 2000), 0.5)
    tracemalloc.start()
    assert eight_bits(image).getpixel((0, 0)) == 128
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 << 20  # NumPy's part; all pixels at once as float64 would take 64 MB, and twice that to scale


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null"])
def test_a_device_is_not_read(path: str) -> None:
    for read in (decode_image, read_header):
        with pytest.raises(ImageError, match="cannot be read: it is a device, not a file"):
            read(Path(path))


def test_a_damaged_image_of_pillow_is_an_image_error() -> None:
    data = encoded(noise(64, 64), "PNG")
    with Image.open(io.BytesIO(data[: len(data) // 2])) as image, pytest.raises(ImageError, match="truncated"):
        as_decoded(image, channels=3)
