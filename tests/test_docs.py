"""The documentation says what the code does."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import typer
from PIL import Image

from mobilenets.cli.app import COMMANDS
from mobilenets.errors import INSTALL
from mobilenets.science.table import REPRODUCTIONS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def commands(page: Path) -> list[str]:
    """The lines of shell blocks that call `mobilenets`, and of its `$ mobilenets` sessions."""
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ") for line in lines if line.removeprefix("$ ").startswith("mobilenets ")]


def options(verb: str) -> set[str]:
    """The long options of a command."""
    found = {"--help"}
    command = importlib.import_module(f"mobilenets.cli.{verb.replace('-', '_')}").command
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        if parameter.annotation is typer.Context:
            continue
        info = parameter.annotation.__metadata__[0]
        declared = [name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str)]
        found |= {name for one in declared for name in one.split("/")} or {f"--{parameter.name.replace('_', '-')}"}
    return found


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_in_the_documentation_exist_with_their_options(page: Path) -> None:
    for line in commands(page):
        verb, *arguments = shlex.split(line, comments=True)[1:]
        if verb.startswith("-"):
            continue
        assert verb in COMMANDS, line
        given = {argument.split("=")[0] for argument in arguments if argument.startswith("--")}
        assert given <= options(verb), line


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings: lower case, words joined by hyphens, punctuation dropped."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)", page.read_text())
    assert [link for link, _ in links if not (page.parent / link).exists()] == []
    assert [
        f"{link}#{anchor}" for link, anchor in links if anchor and anchor not in anchors(page.parent / link if link else page)
    ] == []


def test_the_readme_links_every_page_for_users() -> None:
    links = set(re.findall(r"\]\((docs/[^)#]*)", (ROOT / "README.md").read_text()))
    pages = {
        str(page.relative_to(ROOT)) for folder in ("guides", "concepts", "papers") for page in ROOT.glob(f"docs/{folder}/*.md")
    }
    assert pages - links == set()


def script(name: str) -> ModuleType:
    """A module of `scripts/`."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("link", "page", "on_the_site"),
    [
        ("docs/guides/train.md", "index.md", "guides/train.md"),
        ("docs/guides/detect.md#3-train", "index.md", "guides/detect.md#3-train"),
        ("LICENSE", "index.md", "license.md"),
        ("docs/decisions", "contributing.md", "decisions/index.md"),
        ("resume.md", "guides/detect.md", "resume.md"),
        ("../../CONTRIBUTING.md", "concepts/widths.md", "../contributing.md"),
        ("https://semver.org", "changelog.md", "https://semver.org"),
        ("#development", "index.md", "#development"),
    ],
)
def test_a_link_of_the_repository_leads_to_the_page_of_the_site(link: str, page: str, on_the_site: str) -> None:
    assert script("site").relinked(f"see [here]({link}).", page) == f"see [here]({on_the_site})."


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["[gone](gone.md)", "[heading](train.md#no-such-heading)"])
def test_the_site_is_not_built_with_a_broken_link(fault: str, tmp_path: Path) -> None:
    for name in ("docs", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for file in [*ROOT.glob("*.md"), ROOT / "LICENSE", ROOT / "mkdocs.yml"]:
        shutil.copy(file, tmp_path)
    with (tmp_path / "docs" / "guides" / "resume.md").open("a") as page:
        page.write(f"\n{fault}\n")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]  # quiet, it would count no warnings
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "guides/resume.md" in result.stderr


def test_extras_are_installed_as_the_messages_say() -> None:
    """`errors.INSTALL` is the place that changes with a release; every page types the same command."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    expected = {INSTALL.format(extra=extra) for extra in ("train,weights", *extras)}
    for page in PAGES:
        typed = re.findall(r"pip install '[^']*\[[^']*'", page.read_text())
        assert set(typed) <= expected, page
    assert INSTALL.format(extra="train,weights") in (ROOT / "README.md").read_text()


def test_the_pythons_that_are_claimed_are_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = [name.rpartition(" ")[2] for name in project["classifiers"] if "Python :: 3." in name]
    assert project["requires-python"] == f">={versions[0]}"
    for page in (ROOT / "README.md", ROOT / "Makefile"):
        assert f"{versions[0]} to {versions[-1]}" in page.read_text(), page


@pytest.mark.parametrize("from_scratch", [True, False])
def test_the_demo_says_how_much_it_finds_and_how_to_start_from_weights(from_scratch: bool, tmp_path: Path) -> None:
    report = {
        "classes": [{"label": "functional", "recall": 0.931}, {"label": "defective", "recall": 0.5}],
        "metrics": {"top1": {"value": 0.802}},
    }
    for place, content in (
        ("report/report.json", report),
        ("best/model.json", {"spec": {"weights": "scratch" if from_scratch else "mobilenet_v2.tflite"}}),
    ):
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).write_text(json.dumps(content))
    lines = script("demo").closing_lines(tmp_path)
    assert "finds 50% of the defective cells" in lines[0]
    assert "accuracy 80.2%" in lines[0]
    assert any("make demo WEIGHTS=" in line for line in lines) is from_scratch
    assert lines[-1].endswith("mobilenets train photos/")


def test_the_reference_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert script("reference").main(["--check", str(ROOT / "docs" / "reference")]) == 0, capsys.readouterr().out


def test_the_pages_of_the_papers_are_those_of_their_results(capsys: pytest.CaptureFixture[str]) -> None:
    assert script("papers").main(["--check", str(ROOT / "docs" / "papers")]) == 0, capsys.readouterr().out


def test_results_of_the_papers_are_of_reproductions_that_exist() -> None:
    folder = ROOT / "docs" / "papers"
    results = {path.stem for path in (folder / "results").glob("*.json")}
    assert results
    assert results <= set(REPRODUCTIONS)
    assert {path.stem for path in (folder / "images").iterdir()} == results


def test_ci_runs_the_commands_of_the_readme() -> None:
    """`.ci/run` takes its commands from between these markers; the last one is the test suite."""
    block = (ROOT / "README.md").read_text().split("<!-- ci: begin -->")[1].split("<!-- ci: end -->")[0]
    typed = [line.split("#")[0].strip() for line in block.splitlines() if line.startswith("make ")]
    assert typed == ["make venv", "make lint", "make site", "make test-base", "make test-all"]


def test_every_target_that_the_documentation_names_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"`make ([a-z-]+)", page.read_text())) <= targets, page


def test_the_decision_records_are_short_and_have_their_parts() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert len(records) >= 9
    for record in records:
        text = record.read_text()
        assert all(part in text for part in ("## Problem", "## Options", "## Choice", "## Consequences")), record
        assert len(text.splitlines()) <= 30, record


def made_photos(folder: Path) -> None:
    generator = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (folder / "photos" / label).mkdir(parents=True)
        for i in range(12):
            Image.fromarray(generator.integers(0, 255, (40, 50, 3), np.uint8)).save(folder / "photos" / label / f"{i}.png")
    Image.fromarray(generator.integers(0, 255, (40, 50, 3), np.uint8)).save(folder / "image.jpg")


@pytest.mark.slow
def test_the_python_examples_of_readme_and_guide_run(tmp_path: Path) -> None:
    made_photos(tmp_path)
    for page in (ROOT / "README.md", ROOT / "docs" / "guides" / "predict.md"):  # the guide predicts with the README's model
        (code,) = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
        result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_the_detector_of_the_guide_stands_on_the_papers_maps() -> None:
    page = ROOT / "docs" / "guides" / "detect.md"
    (code,) = re.findall(r"^```python\n([^`]*ssdlite.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == "('s32.expand', 's32') (16, 32, 64, 128, 256, 512)"


@pytest.mark.slow
def test_the_commands_of_the_readme_run_one_after_another(tmp_path: Path) -> None:
    made_photos(tmp_path)
    block = (ROOT / "README.md").read_text().split("## Your own images")[1].split("```sh\n")[2].split("```")[0]
    assert block.count("mobilenets ") == 6
    for line in block.splitlines():
        arguments = shlex.split(line, comments=True)[1:]
        if arguments[0] == "train":
            arguments += ["--weights", "none", "--width", "0.25", "--size", "64", "--epochs", "1", "--folds", "0"]
        result = subprocess.run(
            [sys.executable, "-m", "mobilenets", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, (line, result.stderr)
