from __future__ import annotations

import csv
import io
import json

import pytest
from typer.testing import CliRunner

from mobilenets.cli.app import build
from mobilenets.errors import UnknownNameError, UsageError
from mobilenets.specs.families import BACKBONES, COMPARISONS
from mobilenets.weights.catalog import CATALOG


def run(*arguments: str) -> str:
    result = CliRunner().invoke(build("models"), ["models", *arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_networks_are_listed_with_their_papers_figures() -> None:
    rows = {row["name"]: row for row in json.loads(run("--json"))}
    assert set(rows) == set(BACKBONES) - set(COMPARISONS)
    assert (rows["mobilenet_v2"]["params"], rows["mobilenet_v2"]["size"]) == (3_504_872, 224)  # torchvision's count
    assert rows["mobilenet_v2"]["macs"] == pytest.approx(300e6, rel=0.01)  # V2, Table 4
    assert rows["mobilenet_v4_conv_small"]["paper"] == "arXiv:2404.10518"


def test_the_table_says_what_to_type_next() -> None:
    shown = run("--model", "mobilenet_v3_small")
    assert "mobilenet_v3_small" in shown
    assert "mobilenet_v2" not in shown
    assert "mobilenets info NAME" in shown


def test_public_weights_are_listed_as_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(run("--pretrained", "--csv"))))
    assert [row["name"] for row in rows] == list(CATALOG)
    assert {"url", "checksum", "license", "score", "task", "interpolation"} <= set(rows[0])


def test_public_weights_of_one_network_are_listed() -> None:
    rows = json.loads(run("--pretrained", "--model", "mobilenet_v4_hybrid_large", "--json"))
    assert [row["name"] for row in rows] == [
        "timm/mobilenetv4_hybrid_large.e600_r384_in1k",
        "timm/mobilenetv4_hybrid_large.ix_e600_r384_in1k",
    ]
    assert (rows[0]["metric"], rows[0]["score"]) == ("top-1", 0.83826)


def test_a_network_without_public_weights_gives_an_empty_list() -> None:
    assert json.loads(run("--pretrained", "--model", "mobilenet_v1_shallow", "--json")) == []
    assert run("--pretrained", "--model", "mobilenet_v1_shallow", "--csv").count("\n") == 1


def test_a_wrong_name_suggests_a_near_one() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'mobilenet_v2'"):
        run("--pretrained", "--model", "mobilenet_v22")


def test_two_formats_at_once_are_wrong_usage() -> None:
    with pytest.raises(UsageError):
        run("--json", "--csv")
