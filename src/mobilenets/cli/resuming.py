"""`--resume` of what goes on as it began: options that would change it are refused, and what never began leaves no folder."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from pathlib import Path

import typer

from mobilenets.errors import UsageError


def refuse_typed(context: typer.Context, allowed: AbstractSet[str], reason: str) -> None:
    """Refuse options that were typed but would be passed over.

    Args:
        context: of the command.
        allowed: names of the parameters that may be typed.
        reason: what `--resume` does instead.

    Raises:
        UsageError: another one was typed.
    """
    typed = [name for name in context.params if str(context.get_parameter_source(name)).endswith("COMMANDLINE")]
    options = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    changes = [options[name] for name in typed if name not in allowed]
    if changes:
        raise UsageError(f"{reason}; leave out {', '.join(changes)}")


def forget(folder: Path, record: str) -> None:
    """Remove the folder of what failed before it had any result.

    Args:
        folder: is left as it is if it holds anything else.
        record: name of the file that says what was asked for.
    """
    if folder.is_dir() and {path.name for path in folder.iterdir()} <= {record}:
        (folder / record).unlink(missing_ok=True)
        folder.rmdir()
