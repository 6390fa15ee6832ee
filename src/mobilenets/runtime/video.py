"""Video files and cameras through OpenCV: reads frames, yields predictions and drawn frames. OpenCV is used only here."""

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
"""Extensions of video files."""

CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
"""The formats that can be written, with codecs that every build of OpenCV has."""

CAMERA = "camera:"
STREAMS = ("rtsp://", "rtmp://")
USUAL_FPS = 30.0  # used if a camera or file does not report its rate
_MOST_FPS = 1000.0  # a higher value is a clock frequency, not a frame rate


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a video.

    Args:
        index: counted from 0.
        time_s: seconds since the beginning; for a camera, by the clock.
        image: RGB.
    """

    index: int
    time_s: float
    image: Image.Image


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """A frame and its prediction.

    Args:
        frame: the original frame.
        prediction: the frame's prediction.
        drawn: the frame with the prediction drawn on it; None if drawing was not requested.
    """

    frame: Frame
    prediction: Prediction
    drawn: Image.Image | None


def is_video(source: str) -> bool:
    """Whether the source is a video file, a camera or a network stream."""
    return source.startswith((CAMERA, *STREAMS)) or Path(source).suffix.lower() in SUFFIXES


class VideoReader:
    """Reads the frames of a video file, a camera (`camera:0`) or a network stream (`rtsp://...`), upright and in order.

    Raises:
        DataError: the file or camera does not exist, or it provides no video.
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
        """Frames per second, as reported by the file or camera."""
        self.count: int = 0 if self.live or not 0 < count < math.inf else int(count)
        """Approximate number of frames; 0 if unknown."""

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    def frames(self) -> Iterator[Frame]:
        """Yield the frames on demand.

        Raises:
            DataError: there are no frames.
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
    """Writes a video file that appears under its name once it is complete. An error leaves no file behind.

    Args:
        path: the output file; its extension, one of `CODECS`, selects the format. The video has no sound.
        size: width and height, px; if one is odd, the last column or row is dropped.
        fps: frames per second.

    Raises:
        DataError: the file cannot be written.
        MissingExtraError: OpenCV is not installed.
        UsageError: the format is not supported.
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
        """Append a frame, RGB, of the video's size."""
        self._writer.write(self._cv2.cvtColor(np.asarray(image), self._cv2.COLOR_RGB2BGR))
        self.written += 1

    def add_at(self, image: Image.Image, time_s: float) -> None:
        """Append the frame for this time, repeated as often as needed to keep the video in step with the clock."""
        for _ in range(round(time_s * self.fps) + 1 - self.written):
            self.add(image)


def codec_of(path: Path) -> str:
    """The four-letter codec for a file of this name.

    Raises:
        UsageError: the format is not supported.
    """
    if path.suffix.lower() not in CODECS:
        raise UsageError(f"a video cannot be written as '{path}'", hint=f"end it in {', '.join(CODECS)}")
    return CODECS[path.suffix.lower()]


def predict_frames(
    look: Callable[[Image.Image], Prediction], frames: Iterable[Frame], *, threads: int, drawn: bool
) -> Generator[SeenFrame, None, None]:
    """Predict each frame, and yield the results in order. At most `threads` + 1 frames are in progress at once.

    Args:
        look: predicts one frame; called from the threads.
        frames: frames from a `VideoReader`.
        threads: number of threads that predict and draw while the next frames are read.
        drawn: whether to draw the predictions on the frames.
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
            raise UsageError(
                f"'{source}' does not name a camera: '{number}' is not a number", hint="the first camera is camera:0"
            )
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
