from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilenets.errors import DataError, MissingExtraError, UsageError
from mobilenets.runtime import video
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.video import Frame, VideoReader, VideoWriter, is_video, predict_frames


@pytest.fixture
def cv2() -> Any:  # Any: a module that may be missing
    return pytest.importorskip("cv2", reason="the extra 'video' is not installed")


def clip(cv2: Any, path: Path, colors: list[tuple[int, int, int]], *, fps: float = 10) -> Path:
    """A video of 96 x 64 px, a frame of each color, written without our writer."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (96, 64))
    for red, green, blue in colors:
        writer.write(np.full((64, 96, 3), (blue, green, red), np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a.mp4", True),
        ("b/C.AVI", True),
        ("camera:0", True),
        ("rtsp://host/1", True),
        ("a.jpg", False),
        ("-", False),
        ("a", False),
    ],
)
def test_videos_are_told_from_images_by_their_names(source: str, expected: bool) -> None:
    assert is_video(source) is expected


def test_frames_are_rgb_with_their_times(cv2: Any, tmp_path: Path) -> None:
    path = clip(cv2, tmp_path / "a.avi", [(250, 0, 0), (0, 250, 0), (0, 0, 250)])
    with VideoReader(str(path)) as reader:
        frames = list(reader.frames())
        assert (reader.live, reader.fps, reader.count) == (False, 10, 3)
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.1, 0.2])
    assert [frame.image.size for frame in frames] == [(96, 64)] * 3
    for frame, color in zip(frames, np.diag([250] * 3), strict=True):
        np.testing.assert_allclose(np.asarray(frame.image)[32, 48], color, atol=12)


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv", "out.avi"])
def test_what_is_written_is_read_back(cv2: Any, tmp_path: Path, name: str) -> None:
    with VideoWriter(tmp_path / name, (96, 64), 12.5) as writer:
        for level in (20, 120, 220):
            writer.add(Image.new("RGB", (96, 64), (level, level // 2, 0)))
        assert not (tmp_path / name).exists()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with VideoReader(str(tmp_path / name)) as reader:
        pixels = [np.asarray(frame.image)[32, 48] for frame in reader.frames()]
        assert reader.fps == 12.5
    np.testing.assert_allclose(pixels, [[20, 10, 0], [120, 60, 0], [220, 110, 0]], atol=14)


def test_an_error_leaves_no_video_behind(cv2: Any, tmp_path: Path) -> None:
    def stopped() -> None:
        with VideoWriter(tmp_path / "out.mp4", (96, 64), 10) as writer:
            writer.add(Image.new("RGB", (96, 64)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert list(tmp_path.iterdir()) == []


def test_a_slow_cameras_frames_are_repeated_to_keep_the_time(cv2: Any, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", (96, 64), 10) as writer:
        counts = []
        for time_s in (0.0, 0.31, 0.33, 1.0):
            writer.add_at(Image.new("RGB", (96, 64)), time_s)
            counts.append(writer.written)
    assert counts == [1, 4, 4, 11]


def test_what_is_no_video_is_said(cv2: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(DataError, match=r"'.*bad.mp4' cannot be read as a video"):
        VideoReader(str(tmp_path / "bad.mp4"))
    with pytest.raises(DataError, match=r"there is no video 'gone\.mp4'"):
        VideoReader("gone.mp4")
    with pytest.raises(UsageError, match="'camera:front' does not name a camera"):
        VideoReader("camera:front")
    with pytest.raises(DataError, match="camera 97 cannot be opened"):
        VideoReader("camera:97")


def test_a_video_without_frames_is_said(cv2: Any, tmp_path: Path) -> None:
    class Empty:
        def isOpened(self) -> bool:  # noqa: N802  # as OpenCV calls it
            return True

        def get(self, _: int) -> float:
            return float("nan")

        def read(self) -> tuple[bool, None]:
            return False, None

        def release(self) -> None:
            pass

    reader = VideoReader(str(clip(cv2, tmp_path / "a.avi", [(0, 0, 0)])))
    reader._capture = Empty()
    with pytest.raises(DataError, match="gives no frame"), reader:
        list(reader.frames())


def test_a_file_that_cannot_be_written_is_said(cv2: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        VideoWriter(tmp_path / "nowhere" / "out.mp4", (96, 64), 10)
    with pytest.raises(UsageError, match="cannot be written as"):
        VideoWriter(tmp_path / "out.gif", (96, 64), 10)


def test_without_opencv_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError) as missing:
        VideoReader("camera:0")
    assert missing.value.hint == "pip install '.[video]' in your clone of mobilenets"


def look(image: Image.Image) -> Detections:
    level = np.float32(np.asarray(image)[0, 0, 0] / 255)
    return Detections(("dot",), np.array([[1, 1, 40, 30]], np.float32), np.array([level]), np.zeros(1, np.int64))


def stills(count: int, taken: Callable[[int], object] = lambda i: None) -> Iterator[Frame]:
    for i in range(count):
        taken(i)
        yield Frame(i, i / 10, Image.new("RGB", (96, 64), (i, i, i)))


@pytest.mark.parametrize("threads", [1, 3])
def test_frames_are_predicted_in_their_order(threads: int) -> None:
    seen = list(predict_frames(look, stills(40), threads=threads, drawn=False))
    assert [one.frame.index for one in seen] == list(range(40))
    scores = [one.prediction.scores[0] for one in seen if isinstance(one.prediction, Detections)]
    assert scores == pytest.approx([i / 255 for i in range(40)])
    assert {one.drawn for one in seen} == {None}


def test_frames_are_taken_only_as_they_are_needed() -> None:
    taken: list[int] = []
    seen = predict_frames(look, stills(1000, taken.append), threads=2, drawn=True)
    first = next(seen)
    assert first.drawn is not None
    assert np.asarray(first.drawn).max() > 100
    assert len(taken) <= 4
    seen.close()
    assert len(taken) <= 4


def test_the_writers_endings_are_videos() -> None:
    assert set(video.CODECS) <= video.SUFFIXES
