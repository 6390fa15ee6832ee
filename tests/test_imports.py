"""Starting is fast, and nothing below the torch line loads torch."""

from __future__ import annotations

import ast
import pkgutil
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mobilenets

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "mobilenets"
TORCH_SIDE = tuple(
    f"mobilenets.data.{name}" for name in ("loader", "box_loader", "mask_loader", "augment", "augment_boxes", "augment_masks")
)
HEAVY = ("torch", "torchvision", "onnxruntime", "matplotlib", "PIL", "numpy")


def python(code: str) -> str:
    """What `code` prints in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def cpu_seconds(*command: str) -> float:
    """The least processor time of five runs, which other programs on the machine hardly change."""
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def test_import_takes_under_a_tenth_of_a_second() -> None:
    measured = "import time; start = time.process_time(); import mobilenets; print(time.process_time() - start)"
    assert min(float(python(measured)) for _ in range(5)) < 0.1


def test_help_takes_under_three_tenths_of_a_second() -> None:
    floor = cpu_seconds(sys.executable, "-c", "import typer, typer.rich_utils")  # which every command line of typer pays
    assert cpu_seconds(sys.executable, "-m", "mobilenets", "--help") < max(0.3, 1.7 * floor)  # the second on slow machines


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert python(f"import sys, mobilenets; print(*(name for name in {HEAVY} if name in sys.modules))") == ""


@pytest.mark.slow
def test_a_model_is_lowered_without_torchs_compiler_and_without_torchvision() -> None:
    code = """
import sys
import mobilenets
from mobilenets.exporters.lower import lower
contract = mobilenets.InputContract(size=32)
lower(mobilenets.create(mobilenets.ModelSpec(mobilenets.backbone("mobilenet_v2", width=0.1), ("a", "b"), contract)))
print("LOADED", *(name for name in ("torch._dynamo", "torchvision") if name in sys.modules))
"""
    assert python(code) == "LOADED"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["export", "--help"],
        ["predict", "--help"],
        ["benchmark", "--help"],
        ["serve", "--help"],
        ["--version"],
    ],
)
def test_help_loads_neither_torch_nor_a_runtime(arguments: list[str]) -> None:
    code = f"""
import sys
from mobilenets.cli.app import main
sys.argv = ["mobilenets", *{arguments}]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print("LOADED", *(name for name in ("torch", "onnxruntime", "matplotlib") if name in sys.modules))
"""
    assert python(code).splitlines()[-1].strip() == "LOADED"


@pytest.mark.parametrize(
    "arguments", [["models"], ["models", "--pretrained"], ["info", "mobilenet_v4_hybrid_medium"], ["papers"]]
)
def test_listing_networks_and_their_cost_is_quick_and_loads_no_torch(arguments: list[str]) -> None:
    code = f"""
import sys
from mobilenets.cli.app import main
sys.argv = ["mobilenets", *{arguments}]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print("LOADED", *(name for name in ("torch", "onnxruntime", "matplotlib") if name in sys.modules))
"""
    assert python(code).splitlines()[-1].strip() == "LOADED"
    help_takes = cpu_seconds(sys.executable, "-m", "mobilenets", "--help")
    taken = cpu_seconds(sys.executable, "-m", "mobilenets", *arguments)
    assert taken < max(0.5, 2.5 * help_takes + 0.2)  # 0.5 s on a quiet machine; with torch it would be seconds


def below_the_torch_line() -> list[str]:
    packages = [SOURCE / name for name in ("specs", "runtime", "data", "reports")]
    found = [info.name for package in packages for info in pkgutil.iter_modules([str(package)], f"mobilenets.{package.name}.")]
    return ["mobilenets.errors", "mobilenets.table", *(name for name in found if name not in TORCH_SIDE)]


def test_nothing_below_the_torch_line_loads_torch() -> None:
    names = below_the_torch_line()
    assert len(names) > 20
    code = f"""
import importlib, sys
for name in {names}:
    importlib.import_module(name)
    if "torch" in sys.modules:
        sys.exit(print(name))
"""
    assert python(code) == ""


@pytest.mark.parametrize("name", mobilenets.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(mobilenets, name).__doc__


@pytest.mark.parametrize("name", ["ssdlite", "ssd", "deeplab", "lraspp"])
def test_a_head_is_put_on_a_backbone_without_torch(name: str) -> None:
    code = f"""
import sys, mobilenets
spec = mobilenets.{name}(mobilenets.backbone("mobilenet_v3_large"), ["cat", "dog"])
print(spec.task, "torch" in sys.modules)
"""
    task = "detect" if name.startswith("ssd") else "segment"
    assert python(code) == f"{task} False"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'mobilenet_v9'"):
        _ = mobilenets.mobilenet_v9


def test_every_extra_that_an_error_names_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {
        argument.value
        for file in SOURCE.rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "MissingExtraError"
        for argument in call.args[1:]
        if isinstance(argument, ast.Constant)
    }
    assert named
    assert named <= extras.keys()
