"""The quantization report: the drop, the sources of noise, the ranges, and the images whose predictions changed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from mobilenets.data.samples import Sample
from mobilenets.data.text import counted
from mobilenets.deploy.quantization import HIGHEST, LOWEST
from mobilenets.documents import finite
from mobilenets.errors import MissingExtraError
from mobilenets.evaluation.metric import Metric
from mobilenets.int8 import plots as drawing
from mobilenets.int8.answers import NOUNS, Answer
from mobilenets.int8.flow import Quantized
from mobilenets.int8.gate import told
from mobilenets.int8.images import name_of, read_image
from mobilenets.int8.sensitivity import Sensitivity
from mobilenets.int8.slower import why_slower
from mobilenets.reports import plots, words
from mobilenets.reports.html import to_html
from mobilenets.reports.markdown import to_markdown
from mobilenets.reports.page import Content, Fact, Page, Remark, Shown, Table, shown
from mobilenets.runtime.decoders import Prediction
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.segment.decode import Segmentation

IMAGES = 12
"""Most images with changed predictions that the report shows."""

_GAP_PX = 8  # between the two halves of an image


def write_report(done: Quantized, folder: Path, *, title: str, facts: Mapping[str, object], next_command: str) -> list[str]:
    """Write `report.json`, and, if the libraries for it are installed, `report.html` and `report.md` with plots and images.

    Args:
        done: the quantization.
        folder: the folder to write to.
        title: title of the report.
        facts: facts about the quantization that the report shows.
        next_command: the command that the report suggests next.

    Returns:
        Messages about what is missing, with the reason; empty if everything is written.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(finite({"title": title, "facts": dict(facts), **data(done)}), indent=1, ensure_ascii=False)
    (folder / "report.json").write_bytes((text + "\n").encode("utf-8", "backslashreplace"))
    try:
        page = Page(
            title=title,
            metrics=metrics(done),
            content=_content(done),
            unreadable=done.calibration.unreadable,
            context={"Quantization": facts},
            next_command=next_command,
            remarks=_remarks(done),
        )
        html = to_html(page)
    except MissingExtraError as error:
        return [f"no report page: {error} ({error.hint})"]
    figures = [f"plots/{plot.name}.png" for plot in page.content.plots]
    images = [f"images/{i:02}.jpg" if image.jpeg else "" for i, image in enumerate(page.content.shown, start=1)]
    for part in ("plots", "images"):
        (folder / part).mkdir()
    for plot, file in zip(page.content.plots, figures, strict=True):
        (folder / file).write_bytes(plots.png(plot.figure))
    for image, file in zip(page.content.shown, images, strict=True):
        if file:
            (folder / file).write_bytes(image.jpeg)
    (folder / "report.md").write_text(to_markdown(page, plots=figures, images=images), encoding="utf-8")
    (folder / "report.html").write_text(html, encoding="utf-8")
    return []


def data(done: Quantized) -> dict[str, Any]:  # Any: JSON
    """The content of `report.json` and `--json`: the drop, and each attempt, layer, value and changed prediction."""
    last = done.gated.last
    return {
        "passed": done.gated.passed,
        "max_drop": done.gated.limit,
        "metric": _drop(done),
        "float_layers": list(last.float_layers),
        "attempts": [
            {"float_layers": len(attempt.float_layers), "value": attempt.drop.int8, "drop": attempt.drop.points}
            for attempt in done.gated.attempts
        ],
        "runtime": last.running.title,
        "refused_runtimes": [{"runtime": title, "reason": reason} for title, reason in last.running.refused],
        "latency_ms": {"float": done.latency.real, "int8": done.latency.int8, "int8_without_float_layers": done.latency.whole},
        "slower_because": why_slower(done),
        "calibration": {
            "images": len(done.calibration),
            "names": [name_of(picture) for picture in done.calibration.pictures],
            "unreadable": [{"name": name, "error": error} for name, error in done.calibration.unreadable],
            "neighbor_correlation": done.doubts.correlation,
        },
        "signal_to_noise_db": {
            "calibration": done.doubts.calibration_db,
            "other": done.doubts.other_db,
            "other_with_half_of_the_images": done.doubts.half_db,
        },
        "warnings": list(done.doubts.warnings),
        "cautions": list(done.cautions),
        "layers": [
            {
                "layer": layer.layer,
                "signal_to_noise_db": layer.decibels,
                "share": layer.share,
                "points": _points(done, layer),
                "float": layer.layer in last.float_layers,
            }
            for layer in done.gated.sensitivities
        ],
        "values": [dict(zip(_VALUE_KEYS, row, strict=True)) for row in _values(done)],
        "answers": {
            "images": len(done.answers),
            "same": _same(done),
            "changed": [
                {"name": answer.name, "same": answer.same, "float": said(answer.real), "int8": said(answer.int8)}
                for answer in done.changed
            ],
        },
    }


def metrics(done: Quantized) -> list[Metric]:
    """The cards of the report."""
    drop, doubts, latency = done.gated.last.drop, done.doubts, done.latency
    title = f"{drop.title} in int8" if drop.metric != "same_answers" else drop.title
    before = f"{drop.real:.1%} in float; " if drop.metric != "same_answers" else ""
    other = "no other images to measure on" if doubts.other_db is None else f"{doubts.other_db:.1f} dB on other images"
    return [
        Metric(drop.metric, title, drop.int8, note=f"{before}{told(drop)}"),
        Metric(
            "same", f"same {NOUNS[done.graph.manifest.task]}", _same(done), note=f"on {counted(len(done.answers), 'image')}"
        ),
        Metric("signal_to_noise", "signal to noise", doubts.calibration_db, note=f"on calibration images; {other}"),
        Metric(
            "latency",
            "latency",
            latency.int8,
            note=f"{words.quantity(latency.real, 'ms')} in float; {done.gated.last.running.title}",
        ),
        Metric(
            "size",
            "weights",
            done.int8.weights_bytes / 1e6,
            note=f"{words.quantity(done.graph.weights_bytes / 1e6, 'MB')} in float",
        ),
    ]


def said(prediction: Prediction) -> str:
    """A prediction in a few words."""
    if isinstance(prediction, Detections):
        counts: dict[str, int] = {}
        for name in prediction.names:
            counts[name] = counts.get(name, 0) + 1
        return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing"
    if isinstance(prediction, Segmentation):
        total = max(prediction.classes.size, 1)
        parts = [(int(area), label) for area, label in zip(prediction.areas, prediction.labels, strict=True) if area]
        return ", ".join(f"{label} {area / total:.1%}" for area, label in sorted(parts, reverse=True)[:3])
    return prediction.summary()


_VALUE_KEYS = ("operator", "value", "low", "high", "way", "signal_to_noise_db", "clipped_on_calibration", "clipped_on_other")


def _values(done: Quantized) -> list[tuple[Any, ...]]:  # Any: text and numbers
    """A row for each quantized value, with the columns `_VALUE_KEYS`."""
    result = done.gated.last.result
    clipped = {value.value: value for value in done.doubts.clipped}
    rows: list[tuple[Any, ...]] = []
    for noise in result.noise:
        quantization = result.graph.quantization.get(noise.value)
        if quantization is None:
            continue
        ends = (quantization.scale * (end - quantization.zero_point) for end in (LOWEST, HIGHEST))
        beyond = clipped.get(noise.value)
        shares = (beyond.calibration, beyond.other) if beyond else (math.nan, math.nan)
        rows.append(
            (noise.operator, noise.value, *ends, noise.choice.way if noise.choice else "fixed", noise.decibels, *shares)
        )
    return rows


def _drop(done: Quantized) -> dict[str, object]:
    drop = done.gated.last.drop
    return {
        "name": drop.metric,
        "title": drop.title,
        "float": drop.real,
        "int8": drop.int8,
        "drop": drop.points,
        "drop_low": drop.low,
        "drop_high": drop.high,
        "images": drop.images,
        "labeled": drop.metric != "same_answers",
    }


def _points(done: Quantized, layer: Sensitivity) -> float:
    """The part of the first attempt's drop that is attributed to a layer, in proportion to its noise."""
    return layer.share * done.gated.attempts[0].drop.points


def _same(done: Quantized) -> float:
    return sum(answer.same for answer in done.answers) / max(len(done.answers), 1)


def _remarks(done: Quantized) -> list[Remark]:
    gate, last = done.gated, done.gated.last
    verdict = "within" if gate.passed else "beyond"
    remarks = [Remark(f"{_capital(told(last.drop))}: {verdict} the limit of {gate.limit:g}.", warning=not gate.passed)]
    if last.float_layers:
        cost = ""
        if done.latency.whole is not None:
            cost = f", which costs {words.difference(done.latency.int8 - done.latency.whole, 2)} ms for an image"
        remarks.append(
            Remark(
                f"{counted(len(last.float_layers), 'layer')} stayed in float{cost}: {', '.join(last.float_layers)}.",
                warning=False,
            )
        )
    if slower := why_slower(done):
        remarks.append(Remark(f"{_capital(slower)}."))
    remarks += [Remark(f"{_capital(text)}.") for text in done.cautions]
    remarks += [Remark(text) for text in done.doubts.warnings]
    return remarks


def _content(done: Quantized) -> Content:
    changed = done.changed
    images = tuple(_shown(done, answer) for answer in changed[:IMAGES])
    introduction = f"None: all {len(done.answers):,} images that were compared get the same prediction."
    if changed:
        part = f"The {len(images)} most different of {len(changed):,}" if len(images) < len(changed) else f"{len(changed):,}"
        introduction = f"{part} of {len(done.answers):,} images that were compared."
        if done.graph.manifest.task != "classify":
            introduction += " Left: float. Right: int8."
    height, width = done.graph.manifest.input.shape
    return Content(
        subtitle=f"{done.graph.manifest.model}, {height} x {width} px, calibrated on {counted(len(done.calibration), 'image')}",
        headline="Where predictions changed",
        introduction=introduction,
        shown=images,
        plots=tuple(drawing.plots(done)),
        tables=tuple(_tables(done)),
        wide=done.graph.manifest.task != "classify",
    )


def _shown(done: Quantized, answer: Answer) -> Shown:
    facts = [Fact("float", said(answer.real)), Fact("int8", said(answer.int8))]
    picture = answer.picture
    if done.graph.manifest.task != "classify":
        facts.append(Fact("same", f"{answer.same:.1%}"))
        return shown(answer.name, tuple(facts), lambda name: read_image(picture), partial(_side_by_side, answer=answer))
    truth = _true_label(done, answer)
    if truth:
        facts = [
            Fact(fact.word, fact.text, "good" if prediction.label == truth else "bad")  # type: ignore[union-attr]  # of a classifier
            for fact, prediction in zip(facts, (answer.real, answer.int8), strict=True)
        ]
        facts.append(Fact("truth", truth))
    return shown(answer.name, tuple(facts), lambda name: read_image(picture))


def _true_label(done: Quantized, answer: Answer) -> str:
    """The true label of an image; "" if unknown."""
    sample = answer.picture
    known = isinstance(sample, Sample) and 0 <= sample.label < len(done.labels)
    return done.labels[sample.label] if known and isinstance(sample, Sample) else ""


def _side_by_side(image: Image.Image, *, answer: Answer) -> Image.Image:
    """The predictions of both networks for an image, side by side."""
    both = [prediction.draw(image) for prediction in (answer.real, answer.int8)]
    wide = Image.new("RGB", (2 * both[0].width + _GAP_PX, both[0].height), "white")
    for i, drawn in enumerate(both):
        wide.paste(drawn, (i * (both[0].width + _GAP_PX), 0))
    return wide


def _tables(done: Quantized) -> list[Table]:
    kept = done.gated.last.float_layers
    layers = sorted(done.gated.sensitivities, key=lambda layer: -layer.share)
    title = {"same_answers": "answers"}.get(done.gated.last.drop.metric, "points")
    rows = tuple(
        (
            layer.layer,
            "float" if layer.layer in kept else "int8",
            _decibels(layer.decibels),
            f"{layer.share:.1%}",
            f"{_points(done, layer):.2f}",
        )
        for layer in layers
    )
    values = tuple(
        (name, way, f"{low:.3g}", f"{high:.3g}", _decibels(decibels), _share(own), _share(other))
        for _, name, low, high, way, decibels, own, other in _values(done)
    )
    return [
        Table(
            "Layer by layer",
            ("layer", "computes in", "signal to noise alone", "share of the noise", title),
            rows,
            words=2,
            note="Each layer quantized alone, so that no later layer can compensate, the most sensitive first. The last "
            "column is its share of the drop without float layers.",
        ),
        Table(
            "Value by value",
            ("value", "range chosen by", "from", "to", "signal to noise", "beyond, calibration", "beyond, other images"),
            values,
            words=2,
            note="In network order. The noise is that of all layers up to this one. Values beyond the range are clipped.",
            most=400,
        ),
    ]


def _decibels(value: float) -> str:
    return "no noise" if value == math.inf else "-" if not math.isfinite(value) else f"{value:.1f} dB"


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2%}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
