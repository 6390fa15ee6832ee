from __future__ import annotations

import pytest

from mobilenets.errors import DocumentError, UsageError
from mobilenets.science.entry import Comparison, Reproduction, check_options
from mobilenets.science.kept import read

NEEDS = Reproduction("V2", "Figure 7", "Something", 1, "v2.spiral:figure_1", ("weights", "images", "repeats"))


@pytest.mark.parametrize(
    ("paper", "here", "unit", "difference"),
    [
        (200, 210, "M", "+5.0%"),
        (8, 7.6, "times", "-5.0%"),
        (70.6, 68.4, "%", "-2.2 points"),
        (569, 568.9, "M", "0.0%"),
        (569, 569.1, "M", "0.0%"),
        (50, 50.01, "%", "0.0 points"),
        (0, 0, "", "0"),
        (1.1, -0.4, "points", "-1.5 points"),
        (0, 0.25, "", "+0.25"),
    ],
)
def test_differences_are_percent_of_the_papers_figure_or_points(paper: float, here: float, unit: str, difference: str) -> None:
    assert Comparison("x", paper, here, unit).difference == difference


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["images", "repeats"], "'it' needs --weights FILE"),
        (["weights", "repeats"], "'it' needs --images FOLDER"),
        (["weights", "images", "seconds"], "--seconds means nothing to 'it', which takes --weights, --images, --repeats"),
    ],
)
def test_options_are_refused_that_are_missing_or_mean_nothing(given: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_options("it", NEEDS, given)
    check_options("it", NEEDS, ["weights", "images"])


@pytest.mark.parametrize("text", ["[]", '{"name": "x"}', '{"comparisons": 3}', '{"comparisons": []}'])
def test_other_json_is_no_result(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("other") / "x.json"
    path.write_text(text)
    with pytest.raises(DocumentError):
        read(path)
