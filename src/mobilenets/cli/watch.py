"""Shows the progress of training as a bar on a terminal and as occasional lines elsewhere, and stops it cleanly on Ctrl-C."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from mobilenets.cli.output import note

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from mobilenets.training.step import Step

SECONDS_BETWEEN_LINES = 30.0
# fmt: off
TITLES = {  # the metrics that are displayed, for every task
    "train_loss":         "train loss",
    "val_loss":           "val loss",
    "val_accuracy":       "val accuracy",
    "val_map50":          "val mAP50",
    "val_map":            "val mAP",
    "val_miou":           "val mIoU",
    "val_pixel_accuracy": "val pixel accuracy",
}
# fmt: on


class Watch:
    """Displays training steps. Use it as a context manager.

    Args:
        quiet: whether to display nothing, as every process except the first does.
        after: what follows the last step; "" for nothing.
    """

    def __init__(self, *, quiet: bool = False, after: str = "") -> None:
        from rich.console import Console

        self._after = after

        self._console = Console(stderr=True)
        self._quiet = quiet
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._validated = ""  # the metrics of the last validation
        self._last_line = time.monotonic()

    def __enter__(self) -> Watch:
        from rich.progress import BarColumn, Progress, TextColumn

        if self._console.is_terminal and not self._quiet:
            text = TextColumn("{task.description}")
            self._bar = Progress(text, BarColumn(bar_width=None), TextColumn("{task.fields[rate]}"), console=self._console)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, step: Step) -> None:
        """Display one more step."""
        if self._quiet:
            return
        if step.metrics:
            self._validated = _metrics(step)
        now = f"epoch {step.epoch}/{step.epochs}  loss {step.loss:.3f}"
        rate = f"{step.images_per_second:.0f} images/s  {duration(step.seconds_left)} left"
        if step.step == step.steps:
            rate = f"about {duration(step.seconds_left)} left for {self._after}" if self._after else "done"
        if self._bar is not None:
            if step.metrics:
                self._bar.console.print(f"epoch {step.epoch}/{step.epochs}  {self._validated}", highlight=False)
            if self._task is None:
                self._task = self._bar.add_task("", total=step.steps, rate="")
            self._bar.update(self._task, completed=step.step, total=step.steps, description=now, rate=rate)
        elif step.metrics:
            self._line(f"epoch {step.epoch}/{step.epochs}  {self._validated}  {rate}")
        elif time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._line(f"{now}  {rate}")

    def _line(self, text: str) -> None:
        note(text)
        self._last_line = time.monotonic()


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Make Ctrl-C and SIGTERM request a stop instead of interrupting. Yields a function that says whether one was requested.

    A second Ctrl-C interrupts at once. A second SIGTERM does not, because `torchrun` sends SIGTERM to all processes as soon as
    one of them has ended.
    """
    requested = False

    def request(number: int, _frame: FrameType | None) -> None:
        nonlocal requested
        if requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        requested = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def duration(seconds: float) -> str:
    """A duration as minutes and seconds, with hours if it is that long.

    >>> duration(75), duration(3725)
    ('1:15', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _metrics(step: Step) -> str:
    values = [f"{title} {step.metrics[name]:.3f}" for name, title in TITLES.items() if name in step.metrics]
    return "  ".join(values) + ("  best so far" if step.best else "")
