"""`Tail`: decoding operators appended to a network, and how to write such a file and compare it with the model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import ExportError, MissingExtraError
from mobilenets.exporters.checked import prepared_batches
from mobilenets.exporters.drafts import drafted
from mobilenets.exporters.onnx import export_onnx
from mobilenets.exporters.parity import Agreement, OutputParity, Parity
from mobilenets.model import Model, TorchEngine
from mobilenets.runtime.engines.base import Engine
from mobilenets.runtime.engines.onnx import OnnxEngine
from mobilenets.runtime.images.placement import Placement
from mobilenets.runtime.manifest import Manifest

if TYPE_CHECKING:
    import onnx

    from mobilenets.specs.model import Task

P = TypeVar("P")

Batches = Iterator[NDArray[np.float32]]
Compared = tuple[tuple[OutputParity, ...], Agreement]
"""How far the decoded numbers differ, and how many decoded results agree."""

_OPTIONS: dict[Task, str] = {"detect": "--nms gives boxes", "segment": "--argmax gives the class of each pixel"}


class Tail:
    """Nodes and constants to append to a graph.

    Args:
        name: the prefix of all their names.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[Any] = []  # Any: protobuf messages
        self._constants: list[Any] = []

    def constant(self, values: object, kind: type = np.float32) -> str:
        """Add a constant and return its name."""
        from onnx import numpy_helper

        name = f"{self._name}/constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def __call__(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:  # Any: what ONNX attributes hold
        """Add an operator and return the name of its output."""
        return self.several(kind, *inputs, names=(name or f"{self._name}/{kind}_{len(self._nodes)}",), **attributes)[0]

    def several(self, kind: str, *inputs: str, names: Sequence[str], **attributes: Any) -> Sequence[str]:  # Any: as above
        """Add an operator with several outputs and return their names."""
        from onnx import helper

        own = f"{self._name}/{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, names, name=own, **attributes))
        return names

    def behind(self, model: onnx.ModelProto, outputs: Mapping[str, tuple[int, tuple[int, ...]]]) -> onnx.ModelProto:
        """A copy of a model with this tail appended.

        Args:
            model: a model for any batch size.
            outputs: the outputs that replace the model's: type and shape of each, without the batch.
        """
        import onnx

        extended = onnx.ModelProto()
        extended.CopyFrom(model)
        graph = extended.graph
        graph.node.extend(self._nodes)
        graph.initializer.extend(self._constants)
        batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param or "batch"
        del graph.output[:]
        for name, (kind, shape) in outputs.items():
            graph.output.append(onnx.helper.make_tensor_value_info(name, kind, [batch, *shape]))
        onnx.checker.check_model(extended)
        return extended


def export_with_tail(
    model: Model,
    path: Path,
    *,
    extend: Callable[[onnx.ModelProto, Manifest], onnx.ModelProto],
    compare: Callable[[Engine, Engine, Batches, Manifest], Compared],
    images: Sequence[bytes | Path],
    tolerance: float,
) -> Parity:
    """Write `path`, a network with built-in decoding, after comparing its outputs and decoded results with the model's.

    Args:
        model: the model to export; it is not modified.
        path: the file to write; its folder is created.
        extend: appends the tail to the exported network.
        compare: compares the model, whose outputs are decoded in NumPy, with the file's results, batch by batch.
        images: files or encoded bytes to compare on, in addition to random input.
        tolerance: the largest allowed difference of the network's outputs, as in `export_onnx`, and of the decoded results.

    Raises:
        ExportError: the exporter failed, the file cannot be written, or the two differ.
        ImageError: an image cannot be decoded.
        MissingExtraError: onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "train") from error
    reference = TorchEngine(copy.deepcopy(model).cpu())
    with drafted(path, "tail") as drafts:
        raw, draft = drafts / "raw.onnx", drafts / path.name
        parity = export_onnx(model, raw, images=images, tolerance=tolerance)
        manifest = OnnxEngine(raw).manifest()
        onnx.save(extend(onnx.load(raw), manifest), draft)
        outputs, agreement = compare(reference, OnnxEngine(draft), prepared_batches(model, images), manifest)
        parity = replace(parity, outputs=(*parity.outputs, *outputs), agreements=(agreement,))
        parity.check()
        draft.replace(path)
    return parity


def pairs(
    decode: Callable[[Mapping[str, NDArray[np.float32]], Manifest, Sequence[Placement]], Sequence[P]],
    reference: Engine,
    decoding: Engine,
    batches: Batches,
    manifest: Manifest,
) -> Iterator[tuple[P, P]]:
    """The predictions of two networks for each image, where the image is exactly the network's input.

    Args:
        decode: the task's decoding.
        reference, decoding: the two networks.
        batches: preprocessed images.
        manifest: the manifest of both networks.
    """
    height, width = manifest.input.shape
    for batch in batches:
        places = [Placement(width, height, 1, 1, 0, 0)] * len(batch)
        one, other = (decode(engine.run(batch), manifest, places) for engine in (reference, decoding))
        yield from zip(one, other, strict=True)


def not_for(model: Model, reason: str, *, option: str) -> ExportError:
    """The error for a model whose task does not have the requested tail. It names what the model's own task supports."""
    spec = model.spec
    return ExportError(
        f"'{spec.backbone.name}' is to {spec.task}: {reason}", hint=_OPTIONS.get(spec.task) or f"leave {option} out"
    )
