"""ARCHITECTURE.md's table of how many files a change touches, row by row where it can be counted.

A toy stands in for each change: it is added the way the table says, and everything that lists or runs such things must find it.
The toy runtime is in `tests/runtime/engines`, the toy dataset format in `tests/data/test_open.py`.
"""

from __future__ import annotations

import json
import re
import sys
import types
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

import mobilenets
from mobilenets.cli import app
from mobilenets.data.readers.table import FORMATS
from mobilenets.specs import codec, families, heads
from mobilenets.specs.rows import ROWS, BackboneSpec, Bottleneck, Conv
from mobilenets.table import Table
from mobilenets.tasks.table import MODULES
from mobilenets.training import recipes

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "mobilenets"
ROWS_OF_TABLE = {
    cells[0]: (int(cells[1]), cells[2])
    for line in (ROOT / "ARCHITECTURE.md").read_text().split("| change | files | which |")[1].splitlines()
    if (cells := [cell.strip() for cell in line.strip("|").split("|")]) and len(cells) == 3 and cells[1].isdigit()
}


def importers(module: str) -> set[str]:
    """The modules of the package that import `module`, without those of its own folder named `table.py` or `__init__.py`."""
    parent, _, name = module.rpartition(".")
    patterns = (
        rf"from {re.escape(module)} import",
        rf"import {re.escape(module)}\b",
        rf"from {re.escape(parent)} import .*\b{name}\b",
    )
    return {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if any(re.search(pattern, path.read_text(encoding="utf-8")) for pattern in patterns)
    }


def test_the_table_has_the_rows_that_are_tested_here() -> None:
    assert {"a backbone of known blocks", "a recipe", "a command", "a dataset format", "a runtime"} <= ROWS_OF_TABLE.keys()


@pytest.mark.parametrize("change", ROWS_OF_TABLE)
def test_every_file_that_the_table_names_exists(change: str) -> None:
    for name in re.findall(r"`([\w/]+(?:\.py|\.csv|/))`", ROWS_OF_TABLE[change][1]):
        assert (SOURCE / name).exists(), name


def toy_backbone(width: float = 1.0) -> BackboneSpec:
    return BackboneSpec("toy", (Conv(8, 3, 2), Bottleneck(16, 16, stride=2), Conv(24)), width=width, size=32)


def test_a_backbone_of_known_blocks_is_one_function_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ROWS_OF_TABLE["a backbone of known blocks"][0] == 3  # the third is the test of its printed numbers
    paper = types.ModuleType("toy_paper")
    paper.ARXIV = "arXiv:0000.00000"  # type: ignore[attr-defined]  # what a paper's file has
    monkeypatch.setitem(sys.modules, "toy_paper", paper)
    monkeypatch.setattr(toy_backbone, "__module__", "toy_paper")
    monkeypatch.setattr(families, "BACKBONES", Table("network", {**families.BACKBONES, "toy": toy_backbone}))
    spec = mobilenets.ssdlite(mobilenets.backbone("toy"), ["cat"], size=64)
    outputs = mobilenets.create(spec)(torch.zeros(1, 3, 64, 64))
    assert outputs[0].shape[0] == 1
    assert codec.from_json(codec.to_json(spec)) == spec
    listed = CliRunner().invoke(app.build("models"), ["models", "--model", "toy", "--json"])
    assert json.loads(listed.stdout)[0]["params"] > 0
    assert json.loads(listed.stdout)[0]["paper"] == "arXiv:0000.00000"
    shown = CliRunner().invoke(app.build("info"), ["info", "toy", "--json"])
    assert json.loads(shown.stdout)["network"] == "toy"


def test_every_kind_of_row_and_head_has_one_module() -> None:
    assert MODULES.keys() == heads.HEADS.keys()
    blocks = (SOURCE / "net" / "blocks.py").read_text()
    assert all(f"case {kind}()" in blocks for kind in ROWS)


def test_a_recipe_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ROWS_OF_TABLE["a recipe"][0] == 1
    toy = mobilenets.Recipe(epochs=7)
    monkeypatch.setattr(recipes, "RECIPES", Table("recipe", {**recipes.RECIPES, "toy": toy}))
    assert mobilenets.recipe("toy") == toy


def test_a_command_is_one_module_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ROWS_OF_TABLE["a command"][0] == 2
    module = types.ModuleType("mobilenets.cli.toy")

    def command(word: str) -> None:
        """Say a word."""
        typer.echo(word * 2)

    command.__annotations__ = {"word": str, "return": None}
    module.command = command  # type: ignore[attr-defined]  # what a module of a command has
    monkeypatch.setitem(sys.modules, "mobilenets.cli.toy", module)
    monkeypatch.setitem(app.COMMANDS, "toy", "Say a word.")
    assert CliRunner().invoke(app.build("toy"), ["toy", "hey"]).stdout == "heyhey\n"
    assert "Say a word." in CliRunner().invoke(app.build(""), ["--help"]).stdout


@pytest.mark.parametrize("verb", app.COMMANDS)
def test_nothing_else_imports_the_module_of_a_command(verb: str) -> None:
    assert importers(f"mobilenets.cli.{verb.replace('-', '_')}") == set()


def test_a_dataset_format_is_one_reader_and_one_line() -> None:
    """What other readers share lies in modules without a `FORMAT`."""
    assert ROWS_OF_TABLE["a dataset format"][0] == 2
    readers = SOURCE / "data" / "readers"
    modules = [path.stem for path in readers.glob("*.py") if re.search(r"^FORMAT\b", path.read_text(), re.MULTILINE)]
    assert len(modules) >= 8
    assert len(FORMATS) >= len(modules)
    table = (readers / "table.py").read_text()
    for module in modules:
        assert f"{module}.FORMAT" in table
        users = [path for path in SOURCE.rglob("*.py") if f"{module}.FORMAT" in path.read_text() and path.stem != "table"]
        assert users == []


def test_no_behavior_hangs_on_the_class_of_an_engine() -> None:
    """So that a runtime is its converter, its engine and a line in each of two tables."""
    assert ROWS_OF_TABLE["a runtime"][0] == 4
    for path in SOURCE.rglob("*.py"):
        assert not re.search(r"isinstance\([^)]*Engine\b", path.read_text()), path
