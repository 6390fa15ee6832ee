"""`mobilenets predict` on a video file or a camera: a line per frame, or a video with what was found drawn on it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from PIL import Image

from mobilenets.cli.output import note, progress, show
from mobilenets.cli.predicting import Asked, shown_by, tiling
from mobilenets.runtime.decoders import Prediction
from mobilenets.runtime.predictor import Predictor
from mobilenets.runtime.rows import json_line
from mobilenets.runtime.text import printable
from mobilenets.runtime.video import SeenFrame, VideoReader, VideoWriter, predict_frames

MISSING = 0.05  # share of the frames that a file's header may promise without a word when they are not there


def run(predictor: Predictor, asked: Asked) -> None:
    """Print what every frame shows, or write a video with it drawn; a camera goes on until Ctrl-C.

    Raises:
        DataError: there is no such video or camera, or nothing can be written.
        MissingExtraError: OpenCV is not installed.
    """
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what goes wrong is said below, once
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    predictor = shown_by(predictor, asked)
    look, threads = _look(predictor, asked)
    watched = sys.stderr.isatty() and (asked.out is not None or not sys.stdout.isatty())
    start = time.perf_counter()
    with VideoReader(asked.sources[0]) as video, ExitStack() as stack:
        advance = stack.enter_context(progress("predicting", video.count or None)) if watched else _nothing
        frames = predict_frames(look, video.frames(), threads=threads, drawn=asked.out is not None)
        done = _Done(asked, video)
        try:
            for frame in frames:
                done.add(frame, stack)
                advance(1)
        except KeyboardInterrupt:
            if not video.live or not done.frames:  # a camera has no other end
                raise
            frames.close()
    seconds = time.perf_counter() - start
    if done.frames < (1 - MISSING) * video.count:
        note(f"{video.source}: {done.frames:,} of about {video.count:,} frames could be read")
    if asked.out is not None:
        tell = note if asked.json else show
        tell(f"wrote {asked.out}: {done.frames:,} frames, {done.frames / seconds:.1f} per second")


@dataclass
class _Done:
    """What is written of a video.

    Args:
        asked: the options.
        video: that is read.
        frames: so far.
        writer: of the video that is written; begun with the first frame, which says how large it is.
    """

    asked: Asked
    video: VideoReader
    frames: int = 0
    writer: VideoWriter | None = None

    def add(self, seen: SeenFrame, stack: ExitStack) -> None:
        """One more frame; what is opened for it is closed by `stack`."""
        frame = seen.frame
        if seen.drawn is not None and self.asked.out is not None:
            if self.writer is None:
                self.writer = stack.enter_context(VideoWriter(self.asked.out, seen.drawn.size, self.video.fps))
            if self.video.live:
                self.writer.add_at(seen.drawn, frame.time_s)
            else:
                self.writer.add(seen.drawn)
        if self.asked.json:
            data = {"file": self.video.source, "frame": frame.index, "time_s": round(frame.time_s, 3)}
            print(json_line({**data, **seen.prediction.record()}), flush=True)
        elif self.asked.out is None:
            show(f"{frame.time_s:8.2f} s  {printable(seen.prediction.summary())}")
            sys.stdout.flush()
        self.frames += 1


def _look(predictor: Predictor, asked: Asked) -> tuple[Callable[[Image.Image], Prediction], int]:
    """What predicts a frame, and how many frames at once: tiles of one keep all threads busy."""
    if asked.tile is None:
        return lambda image: predictor.predict_decoded([image])[0], predictor.threads
    return tiling(predictor, asked)[1], 1


def _nothing(amount: int) -> None:
    """For who does not watch."""
