"""Video files and cameras through OpenCV: frames in, predictions and drawn frames out. The only module that imports it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np
from PIL import Image

from mobilenets.errors import DataError, MissingExtraError, UsageError
from mobilenets.runtime.decoders import Prediction
from mobilenets.runtime.ordered import in_order

SUFFIXES = frozenset((".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".wmv"))
"""How names of video files end."""

CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
"""What can be written, and how: with codecs that every build of OpenCV has."""

CAMERA = "camera:"
STREAMS = ("rtsp://", "rtmp://")
USUAL_FPS = 30.0  # where a camera or a file does not say
_MOST_FPS = 1000.0  # more is no rate but a clock


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of a video.

    Args:
        index: from 0.
        time_s: since the beginning; of a camera by the clock.
        image: RGB.
    """

    index: int
    time_s: float
    image: Image.Image


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """A frame and what is predicted for it.

    Args:
        frame: as it was.
        prediction: for it.
        drawn: the frame with the prediction on it; None where nothing was to be drawn.
    """

    frame: Frame
    prediction: Prediction
    drawn: Image.Image | None


def is_video(source: str) -> bool:
    """Whether this names a video file, a camera or a network stream."""
    return source.startswith((CAMERA, *STREAMS)) or Path(source).suffix.lower() in SUFFIXES


class VideoReader:
    """The frames of a video file, a camera (`camera:0`) or a network stream (`rtsp://...`), upright, one after another.

    Raises:
        DataError: there is no such file or camera, or it gives no video.
        MissingExtraError: OpenCV is not installed.
        UsageError: the camera has no number.
    """

    def __init__(self, source: str) -> None:
        self._cv2 = _cv2()
        self.source = source
        self.live = source.startswith((CAMERA, *STREAMS))
        self._capture = _capture(self._cv2, source)
        fps, count = (self._capture.get(key) for key in (self._cv2.CAP_PROP_FPS, self._cv2.CAP_PROP_FRAME_COUNT))
        self.fps: float = fps if 0 < fps <= _MOST_FPS else USUAL_FPS
        """Frames per second, as the file or camera says."""
        self.count: int = 0 if self.live or not 0 < count < math.inf else int(count)
        """Frames there are about; 0 where nobody knows."""

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    def frames(self) -> Iterator[Frame]:
        """The frames, as they are asked for.

        Raises:
            DataError: there is not one.
        """
        start = time.monotonic()
        index = 0
        while True:
            read, pixels = self._capture.read()
            if not read:
                break
            own_time = 0.0 if self.live else self._capture.get(self._cv2.CAP_PROP_POS_MSEC) / 1000
            time_s = time.monotonic() - start if self.live else own_time if own_time > 0 else index / self.fps
            yield Frame(index, time_s, Image.fromarray(self._cv2.cvtColor(pixels, self._cv2.COLOR_BGR2RGB)))
            index += 1
        if not index:
            raise DataError(f"'{self.source}' gives no frame", hint=_HINT)


class VideoWriter:
    """A video file that appears under its name once it is complete; an error leaves nothing behind.

    Args:
        path: its ending, one of `CODECS`, says what is written. There is no sound.
        size: width and height, px; of an odd one the last column or row is lost.
        fps: frames per second.

    Raises:
        DataError: it cannot be written.
        MissingExtraError: OpenCV is not installed.
        UsageError: such files cannot be written.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        codec = codec_of(path)
        self._cv2 = _cv2()
        self.path = path
        self.fps = fps
        self.written = 0
        self._part = path.with_suffix(f".part{path.suffix}")
        self._writer = self._cv2.VideoWriter(str(self._part), self._cv2.VideoWriter_fourcc(*codec), fps, size)
        if not self._writer.isOpened():
            self._part.unlink(missing_ok=True)
            raise DataError(f"'{path}' cannot be written", hint="is there such a folder, and may you write there?")

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.release()
        if kind is None:
            self._part.replace(self.path)
        else:
            self._part.unlink(missing_ok=True)

    def add(self, image: Image.Image) -> None:
        """One more frame, RGB, of the size of all."""
        self._writer.write(self._cv2.cvtColor(np.asarray(image), self._cv2.COLOR_RGB2BGR))
        self.written += 1

    def add_at(self, image: Image.Image, time_s: float) -> None:
        """The frame of that moment, as often as it is needed for the video to run at the speed of the clock."""
        for _ in range(round(time_s * self.fps) + 1 - self.written):
            self.add(image)


def codec_of(path: Path) -> str:
    """The four letters of the codec for a file of that name.

    Raises:
        UsageError: such files cannot be written.
    """
    if path.suffix.lower() not in CODECS:
        raise UsageError(f"a video cannot be written as '{path}'", hint=f"end it in {', '.join(CODECS)}")
    return CODECS[path.suffix.lower()]


def predict_frames(
    look: Callable[[Image.Image], Prediction], frames: Iterable[Frame], *, threads: int, drawn: bool
) -> Generator[SeenFrame, None, None]:
    """What is predicted for each frame, in their order; at most `threads` + 1 frames are on their way.

    Args:
        look: predicts one frame; is called by the threads.
        frames: of a `VideoReader`.
        threads: that predict and draw, while the next frames are read.
        drawn: whether frames are drawn.
    """

    def work(frame: Frame) -> SeenFrame:
        prediction = look(frame.image)
        return SeenFrame(frame, prediction, prediction.draw(frame.image) if drawn else None)

    yield from in_order(work, frames, threads=threads, ahead=threads, name="frames")


_HINT = "OpenCV cannot decode it; MP4 with H.264 is read everywhere"


def _capture(cv2: ModuleType, source: str) -> Any:  # Any: cv2.VideoCapture, which may not be installed
    if source.startswith(CAMERA):
        number = source.removeprefix(CAMERA)
        if not number.isdecimal():
            raise UsageError(f"'{source}' names no camera: '{number}' is no number", hint="the first camera is camera:0")
        capture = cv2.VideoCapture(int(number))
        if not capture.isOpened():
            raise DataError(f"camera {number} cannot be opened", hint="is it connected, and does no other program use it?")
        return capture
    if not source.startswith(STREAMS) and not Path(source).is_file():
        raise DataError(f"there is no video '{source}'")
    capture = cv2.VideoCapture(source)
    if not capture.isOpened():
        raise DataError(f"'{source}' cannot be read as a video", hint=_HINT)
    return capture


def _cv2() -> ModuleType:
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError("opencv-python-headless", "video") from error
    return cv2
