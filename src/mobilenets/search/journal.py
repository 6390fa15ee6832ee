"""`Journal`: stores the steps of NetAdapt on disk, so that a killed search resumes after the last judged proposal."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mobilenets import checkpoint
from mobilenets.documents import decode, encode, parse
from mobilenets.errors import CheckpointError, DocumentError
from mobilenets.model import Model

STEP = "step.json"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposed network, slightly smaller than the previous one.

    Args:
        axis: the axis that shrinks.
        title: description of the axis for users.
        before, after: its channel counts.
        cost: cost of the network, by resource.
        value: its value; higher is better.
        loss: loss on the images that it was judged by; 0 if the task has none.
        gain: change in value per saved unit of the resource; negative if the value drops.
    """

    axis: str
    title: str
    before: int
    after: int
    cost: Mapping[str, float]
    value: float
    loss: float
    gain: float


@dataclass(frozen=True, slots=True)
class Step:
    """A step of NetAdapt.

    Args:
        number: counted from 1; 0 is the start.
        resource: the resource to save; "" at the start.
        chosen: the accepted proposal; at the start, the unchanged network.
        proposals: all judged proposals.
    """

    number: int
    resource: str
    chosen: Proposal
    proposals: tuple[Proposal, ...] = ()


class Journal:
    """The steps in a folder.

    Args:
        folder: folder of the search.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "steps"

    def steps(self) -> list[Step]:
        """The completed steps, in order.

        Raises:
            CheckpointError: a step cannot be read.
        """
        found: list[Step] = []
        while checkpoint.settled(self._home(len(found))).is_dir():
            file = checkpoint.settled(self._home(len(found))) / STEP
            try:
                found.append(decode(parse(file.read_bytes()), Step))
            except (OSError, DocumentError) as error:
                raise CheckpointError(f"'{file}' cannot be read: {error}", hint="remove the folder to redo the step") from error
        return found

    def model(self, number: int) -> Model:
        """The network after a step; raises CheckpointError."""
        return checkpoint.load(checkpoint.settled(self._home(number)))

    def add(self, step: Step, model: Model) -> None:
        """Store a completed step; raises CheckpointError if it cannot be written."""
        with checkpoint.replacing(self._home(step.number)) as new:
            checkpoint.write(model, new)
            (new / STEP).write_text(json.dumps(encode(step), indent=1) + "\n", encoding="utf-8")
        self._draft(step.number).unlink(missing_ok=True)

    def proposals(self, number: int) -> dict[str, Proposal]:
        """The judged proposals of an incomplete step, by axis. An incomplete line after a kill is skipped."""
        try:
            lines = self._draft(number).read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return {}
        found: dict[str, Proposal] = {}
        for line in lines:
            try:
                proposal = decode(parse(line), Proposal)
            except DocumentError:
                continue
            found[proposal.axis] = proposal
        return found

    def add_proposal(self, number: int, proposal: Proposal) -> None:
        """Store a judged proposal; raises OSError if it cannot be written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._draft(number).open("ab") as file:
            file.write(b"\n" * bool(file.tell()) + json.dumps(encode(proposal)).encode())
            file.flush()
            os.fsync(file.fileno())

    def _home(self, number: int) -> Path:
        return self.folder / f"{number:04d}"

    def _draft(self, number: int) -> Path:
        return self.folder / f"{number:04d}.jsonl"
