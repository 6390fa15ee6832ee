"""Write docs/reference and the README's table of models from the code.

python scripts/reference.py docs/reference            write the pages
python scripts/reference.py --check docs/reference    exit 1 if a page is out of date
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import importlib
import inspect
import sys
import textwrap
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import typer
from typer.models import ArgumentInfo

import mobilenets
from mobilenets.analysis.layers import COUNTING_RULE
from mobilenets.analysis.trace import trace
from mobilenets.cli.app import COMMANDS
from mobilenets.keys import Setting, settings
from mobilenets.model import Model
from mobilenets.specs.families import COMPARISONS, PAPERS
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.training.recipe import Recipe, difference
from mobilenets.training.recipes import RECIPES

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- models: begin, written by `make docs` -->\n", "<!-- models: end -->\n"
HEADER = "<!-- Written by `make docs` from the code; do not edit. -->\n\n"


def command_line() -> str:
    """Every command with its arguments and options."""
    parts = [
        "# Command line\n\nResults go to stdout, progress and notes to stderr. Exit code 0: done; 1: failed; 2: wrong usage.\n"
    ]
    for name in COMMANDS:
        command = importlib.import_module(f"mobilenets.cli.{name.replace('-', '_')}").command
        given = inspect.signature(command, eval_str=True).parameters.values()
        rows = [_option(parameter) for parameter in given if parameter.annotation is not typer.Context]
        usage = " ".join([*(names for names, *_ in rows if not names.startswith("-")), "[OPTIONS]"])
        parts.append(f"## mobilenets {name}\n\n```\nmobilenets {name} {usage}\n```\n\n{inspect.getdoc(command)}\n")
        parts.append(_table(("option", "meaning", "default"), [(f"`{names}`", *others) for names, *others in rows]))
    return "\n".join(parts)


def _option(parameter: inspect.Parameter) -> tuple[str, str, str]:
    """Names, meaning and default of an argument or option, from the annotation of a command's parameter."""
    kind, info = parameter.annotation.__origin__, parameter.annotation.__metadata__[0]
    kinds = [one for one in typing.get_args(kind) or (kind,) if one is not type(None)]
    metavar = info.metavar or ("" if bool in kinds else kinds[0].__name__.upper())
    shown = "" if parameter.default in (parameter.empty, None, False, "", ...) else f"`{parameter.default}`"
    if isinstance(info, ArgumentInfo):
        return metavar or parameter.name.upper(), info.help or "", shown
    declared = [name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str)]  # typer's own reading
    names = ", ".join(declared or [f"--{parameter.name.replace('_', '-')}"])
    return f"{names} {metavar}".strip(), info.help or "", shown


# fmt: off
TOPICS = {  # heading: the names in reading order; errors come last, of themselves
    "Load, train, measure, export": ("load", "save", "train", "evaluate", "export", "quantize", "export_onnx", "Labeled"),
    "Predict":                      ("Predictor", "Result", "Classification", "Detections", "Segmentation", "Manifest"),
    "Build a network":              ("backbone", "create", "ssdlite", "ssd", "deeplab", "lraspp", "Model", "ModelSpec",
                                     "InputContract"),
    "Data and recipes":             ("open_dataset", "Dataset", "recipe", "Recipe", "Step"),
}
# fmt: on


def python_names() -> str:
    """Every public name with its signature and docstring, by topic."""
    listed = {name for names in TOPICS.values() for name in names}
    errors = [name for name in mobilenets.__all__ if _is_error(name)]
    unlisted = [name for name in mobilenets.__all__ if name not in listed and name not in errors]
    topics = {**TOPICS, **({"More": tuple(unlisted)} if unlisted else {})}
    parts = [
        "# Python\n\nEverything that `import mobilenets` offers. "
        "A name is imported when it is first used, and torch only if the name needs it.\n",
        "".join(
            f"- {topic}: {', '.join(f'[`{name}`](#{name.lower()})' for name in names)}\n" for topic, names in topics.items()
        )
        + "- [Errors](#errors)\n",
    ]
    for topic, names in topics.items():
        parts.append(f"## {topic}\n")
        parts += [part for name in names for part in _entry(name, getattr(mobilenets, name))]
    parts.append("## Errors\n\nAll are `MobileNetsError`, whose `hint` says what to do next, and may be empty.\n")
    parts.append(_table(("error", "is also a", "meaning"), [_error(name) for name in errors]))
    return "\n".join(parts)


def _entry(name: str, value: object) -> Iterator[str]:
    """A public name with its properties and methods."""
    yield f"### {name}\n\n```python\n{_signature(name, value)}\n```\n\n{_docstring(value)}\n"
    if not inspect.isclass(value):
        return
    properties = {key: member for key, member in vars(value).items() if isinstance(member, property) and key[0] != "_"}
    if properties:
        lines = "".join(f"- `{key}`: {_first_line(member)}\n" for key, member in properties.items())
        yield f"**Properties**\n\n{lines}"
    for method, function in _methods(value):
        yield f"#### {name}.{method}\n\n```python\n{_signature(method, function)}\n```\n\n{_docstring(function)}\n"


def _is_error(name: str) -> bool:
    value = getattr(mobilenets, name)
    return inspect.isclass(value) and issubclass(value, Exception)


def _error(name: str) -> tuple[str, str, str]:
    """A row of the table of errors."""
    value = getattr(mobilenets, name)
    builtin = [base.__name__ for base in value.__mro__ if base.__module__ == "builtins"]
    return f"`{name}`", ", ".join(f"`{base}`" for base in builtin[:1] if base != "Exception"), _first_line(value)


def _first_line(value: object) -> str:
    return inspect.cleandoc(value.__doc__ or "").splitlines()[0]


def _methods(value: type) -> Iterator[tuple[str, object]]:
    for method, function in vars(value).items():
        plain = function.__func__ if isinstance(function, staticmethod | classmethod) else function
        if not method.startswith("_") and inspect.isfunction(plain) and plain.__doc__:
            yield method, plain


def _signature(name: str, value: object) -> str:
    assert callable(value)
    signature = inspect.signature(value)
    if value is Recipe:
        return f"Recipe(*, epochs: int = 30, batch: int = 32, ...)  # {len(settings(Recipe))} keys, see recipes.md"
    pieces, starred = [], False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            pieces.append("*")
            starred = True
        annotation = "" if parameter.annotation is parameter.empty else f": {_plain(parameter.annotation)}"
        default = "" if parameter.default is parameter.empty else f" = {_default(parameter.default)}"
        pieces.append(f"{parameter.name}{annotation}{default}")
    returns = signature.return_annotation
    arrow = "" if inspect.isclass(value) or returns is signature.empty else f" -> {_plain(returns)}"
    line = f"{name}({', '.join(pieces)}){arrow}"
    return line if len(line) <= 100 else f"{name}(\n" + "".join(f"    {piece},\n" for piece in pieces) + f"){arrow}"


def _default(value: object) -> str:
    """A default as a reader wants it: records and functions by their name alone."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return repr(value) if value == type(value)() and len(repr(value)) <= 40 else f"{type(value).__name__}(...)"
    return "..." if callable(value) else repr(value)


def _plain(annotation: object) -> str:
    """An annotation as a reader wants it: the type, without the range that `Annotated` adds."""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    return ast.unparse(_Bare().visit(ast.parse(text, mode="eval")))


class _Bare(ast.NodeTransformer):
    """Replaces `Annotated[type, ...]` with `type`."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        """The node without its annotations."""
        self.generic_visit(node)
        annotated = isinstance(node.value, ast.Name) and node.value.id == "Annotated" and isinstance(node.slice, ast.Tuple)
        return node.slice.elts[0] if annotated else node  # type: ignore[attr-defined]  # a tuple, as the line above says


def _docstring(value: object) -> str:
    """The docstring, with `Args:` and `Raises:` as lists and examples as code."""
    lines: list[str] = []
    section, example = "", False
    for line in inspect.cleandoc(value.__doc__ or "").splitlines():
        if example != (line.startswith(">>> ") or (example and line != "")):
            example = not example
            lines.append("```python" if example else "```")
        if example:
            lines.append(line.partition("  # doctest:")[0])
        elif line in ("Args:", "Raises:"):
            section = line
            lines.append({"Args:": "**Arguments**\n", "Raises:": "**Raises**\n"}[line])
        elif section and line.startswith("    ") and not line.startswith("     "):
            names, _, meaning = line.strip().partition(": ")
            lines.append(f"- `{names}`: {meaning}" if meaning else f"  {names}")
        elif section and line.startswith("     "):
            lines.append(f"  {line.strip()}")
        else:
            section = "" if line else section
            lines.append(line)
    return "\n".join([*lines, "```"] if example else lines)


def recipes() -> str:
    """Every key of a recipe by its part, and every recipe as its difference from the defaults."""
    parts = [
        "# Recipes\n\n`mobilenets train DATA --recipe NAME --set KEY=VALUE ...` takes a recipe and changes some of its keys. "
        "A run's own recipe is in its `run.json`. A key that has no effect, because it belongs to another task or another key "
        "turns it off, is refused.\n",
        "## Keys\n",
    ]
    keys = settings(Recipe).values()
    for part in dict.fromkeys(setting.part for setting in keys):
        rows = [_key(setting) for setting in keys if setting.part is part]
        parts.append(f"### {part.__name__}\n\n{_docstring(part)}\n")
        parts.append(_table(("key", "default", "values", "tasks", "meaning"), rows))
    for name, recipe in RECIPES.items():
        changed = difference(recipe, Recipe())
        parts.append(
            f"## {name}\n\n```\n"
            + textwrap.fill("  ".join(f"{key}={_toml(value)}" for key, value in changed.items()), 100)
            + "\n```\n"
        )
    return "\n".join(parts)


def _key(setting: Setting) -> tuple[str, str, str, str, str]:
    """The row of a key."""
    if setting.between is not None:
        values = f"{setting.kind.__name__}, {setting.between[0]:g} to {setting.between[1]:g}"
    else:
        values = ", ".join(f"`{choice}`" for choice in setting.choices) or setting.kind.__name__
    other, *wanted = (*setting.needs, "") if setting.needs else ("", "")
    condition = f" (with {other}{'=' if wanted[:-1] else ''}{' or '.join(map(str, wanted[:-1]))})" if other else ""
    tasks = ", ".join(setting.tasks) or "all"
    return f"`{setting.name}`", f"`{_toml(setting.default)}`", values, tasks, setting.meaning + condition


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:.6g}" if isinstance(value, float) else str(value)


def models() -> str:
    """Every network with its counts."""
    return (
        f"# Models\n\n{COUNTING_RULE} With 1000 classes, at the paper's input size and width 1.\n\n"
        f"## The family\n\n{family()}\n"
        f"## The papers' comparison networks\n\n{_counts(COMPARISONS)}"
    )


def family() -> str:
    """The table of the papers' own networks."""
    return _counts(PAPERS)


def _counts(names: Iterable[str]) -> str:
    rows = []
    for name in names:
        spec = {**PAPERS, **COMPARISONS}[name]()
        labels = tuple(str(i) for i in range(1000))
        graph = trace(Model(ModelSpec(spec, labels, InputContract(spec.size))), (1, 3, spec.size, spec.size))
        rows.append((f"`{name}`", str(spec.size), f"{graph.params / 1e6:.2f} M", f"{graph.macs / 1e6:,.0f} M"))
    return _table(("name", "input", "parameters", "MACs"), rows)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |\n"

    return line(columns) + line(["---"] * len(columns)) + "".join(line(row) for row in rows)


def readme() -> str:
    """The README with its table of models as the code counts it."""
    before, rest = README.read_text(encoding="utf-8").split(BEGIN)
    return before + BEGIN + family() + END + rest.split(END)[1]


def pages(folder: Path) -> dict[Path, str]:
    """Every file that is written, with its text."""
    return {
        folder / "command_line.md": HEADER + command_line(),
        folder / "python.md": HEADER + python_names(),
        folder / "recipes.md": HEADER + recipes(),
        folder / "models.md": HEADER + models(),
        README: readme(),
    }


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or compare them with what is there; the exit code."""
    check, folder = "--check" in arguments, Path(arguments[-1])
    stale = 0
    for path, text in pages(folder).items():
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if before == text:
            continue
        stale += 1
        if check:
            changes = difflib.unified_diff(before.splitlines(), text.splitlines(), str(path), "the code", lineterm="", n=0)
            print("\n".join([*list(changes)[:20], f"{path} is out of date; run make docs"]))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
