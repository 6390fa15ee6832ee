"""Program: makes a Core ML package of what `torch.export.save` wrote. Arguments: program, package to write, facts, description.

The description is a JSON file: `outputs`, their names; `metadata`, text by key; `author`, `about` and `precision`
("float32" or "float16").
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

    told = json.loads(Path(description).read_text("utf-8"))
    exported = torch.export.load(program).run_decompositions({})
    precision = {"float32": coremltools.precision.FLOAT32, "float16": coremltools.precision.FLOAT16}[told["precision"]]
    model = coremltools.convert(
        exported,
        convert_to="mlprogram",
        outputs=[coremltools.TensorType(name=name) for name in told["outputs"]],
        compute_precision=precision,
        minimum_deployment_target=coremltools.target.iOS16,
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
