"""The HTML that a notebook shows for a predictor."""

from __future__ import annotations

from html import escape

from mobilenets.runtime.engines.base import Engine
from mobilenets.runtime.manifest import Manifest

_SHOWN = 12  # labels


def predictor_html(manifest: Manifest, engine: Engine) -> str:
    """A small table: the model, its task, labels, input and engine."""
    height, width = manifest.input.shape
    labels = ", ".join(manifest.labels[:_SHOWN])
    if len(manifest.labels) > _SHOWN:
        labels += f", and {len(manifest.labels) - _SHOWN:,} more"
    rows = {
        "model": manifest.model,
        "task": manifest.task,
        "labels": labels,
        "input": f"{width} x {height} px, {manifest.input.resize.replace('_', ' ')}",
        "engine": f"{type(engine).__name__}, {engine.source}",
    }
    cells = "".join(f"<tr><th style='text-align:left'>{name}</th><td>{escape(value)}</td></tr>" for name, value in rows.items())
    return f"<table><caption>Predictor</caption>{cells}</table>"
