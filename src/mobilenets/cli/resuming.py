"""`--resume` of what goes on as it began: options that would change it are refused, and what never began leaves no folder.

One process at a time works in a folder, whether it begins or goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import typer

from mobilenets.errors import UsageError
from mobilenets.files import check_writable, claimed

WAIT = "wait until it ends, or stop it; or choose another folder with --out"


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


def unused(folder: Path) -> Iterator[Path]:
    """The folder, then the same with a number behind; those that are not there or hold nothing."""
    names = (folder, *(folder.with_name(f"{folder.name}-{i}") for i in range(2, 10_000)))
    return (name for name in names if not name.exists() or (name.is_dir() and not any(name.iterdir())))


@contextmanager
def the_only(folders: Iterable[Path], doing: str, *, hint: str = WAIT) -> Iterator[Path]:
    """The first of these folders in which no other process works; until the block ends, no other one may.

    It is made, and removed again if nothing is in it at the end. A process that is killed leaves no lock behind.

    Args:
        folders: to choose from; at least one.
        doing: what is done in them, as "trains".
        hint: what to do if other processes work in all of them.

    Raises:
        OSError: the folder cannot be made.
        UsageError: other processes work in all of them, or it cannot be a folder.
    """
    taken: list[Path] = []
    for folder in folders:
        check_writable(folder)
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as claim:
            if not claim.enter_context(claimed(folder)):
                taken.append(folder)
                continue
            try:
                yield folder
            finally:
                for path in made:
                    with suppress(OSError):  # it holds something
                        path.rmdir()
            return
    raise UsageError(f"'{taken[0]}' is in use: another process {doing} there", hint=hint)
