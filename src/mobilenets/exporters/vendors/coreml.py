"""Converts a file of `torch.export.save` to a Core ML package. Arguments: program, package to write, facts, description.

The description is a JSON file: `outputs`, their names; `metadata`, text by key; `author`, `about` and `precision`
("float32", "float16", or "int8" for a program with 8-bit integers, whose reals are then 16 bits).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    """Convert; the facts are JSON with the version, and inputs, outputs and operators as the written package describes them."""
    program, made, facts, description = sys.argv[1:]
    import coremltools
    import torch
    from torch.ao.quantization.fx import _decomposed  # noqa: F401  # the conversions of networks in 8-bit integers

    told = json.loads(Path(description).read_text("utf-8"))
    exported = torch.export.load(program).run_decompositions({})
    half, target = coremltools.precision.FLOAT16, coremltools.target
    precision, least = {
        "float32": (coremltools.precision.FLOAT32, target.iOS16),
        "float16": (half, target.iOS16),
        "int8": (half, target.iOS17),  # the first with quantization and dequantization
    }[told["precision"]]
    model = coremltools.convert(
        exported,
        convert_to="mlprogram",
        outputs=[coremltools.TensorType(name=name) for name in told["outputs"]],
        compute_precision=precision,
        minimum_deployment_target=least,
        skip_model_load=True,
    )
    model.author, model.short_description = told["author"], told["about"]
    for key, text in told["metadata"].items():
        model.user_defined_metadata[key] = text
    model.save(made)
    spec = coremltools.models.MLModel(made, skip_model_load=True).get_spec()
    known = {
        "version": coremltools.__version__,
        "inputs": {feature.name: list(feature.type.multiArrayType.shape) for feature in spec.description.input},
        "outputs": {feature.name: list(feature.type.multiArrayType.shape) for feature in spec.description.output},
        "metadata": dict(spec.description.metadata.userDefined),
    }
    Path(facts).write_text(json.dumps(known))


if __name__ == "__main__":
    main()
