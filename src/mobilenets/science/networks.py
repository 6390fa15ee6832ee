"""`Network`: a network whose cost is counted and timed, one of ours or of another paper (a peer)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from mobilenets.analysis.layers import LayerGraph
from mobilenets.errors import ExportError, MissingExtraError
from mobilenets.specs.codec import to_json
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.rows import BackboneSpec

CLASSES, PEER_SIZE = 1000, 224
TOLERANCE = 1e-3
"""Largest allowed difference between ONNX Runtime and torch for a peer, relative to the largest logit."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network of ours, or a peer.

    Args:
        name: its name in tables and plots.
        spec: the spec of one of ours; None for a peer.
        peer: its name in `peers.table.PEERS`; "" for one of ours.
    """

    name: str
    spec: ModelSpec | None = None
    peer: str = ""

    def graph(self) -> LayerGraph:
        """Its layers, from a run on one image."""
        import torch

        from mobilenets.analysis.trace import trace
        from mobilenets.model import Model
        from mobilenets.science.peers.table import PEERS

        with torch.device("meta"):
            module = PEERS[self.peer]() if self.spec is None else Model(self.spec)
        return trace(module, (1, 3, *self._shape))

    def file(self, folder: Path) -> Path:
        """Its ONNX file in `folder`, with random weights; if missing, it is written and compared with torch.

        Raises:
            ExportError: the file does not compute the same as the network.
            MissingExtraError: a library is not installed.
        """
        path = folder / f"{self._key()}.onnx"
        if not path.exists():
            if self.spec is not None:
                _write_ours(self.spec, path)
            else:
                _write_peer(self.peer, PEER_SIZE, path)
        return path

    @property
    def _shape(self) -> tuple[int, int]:
        return (PEER_SIZE, PEER_SIZE) if self.spec is None else self.spec.input.shape

    def _key(self) -> str:
        """A unique file name."""
        if self.spec is None:
            return self.peer
        digest = hashlib.sha256(to_json(self.spec).encode()).hexdigest()
        return f"{self.spec.backbone.name}-{self.spec.input.size}-{digest[:8]}"


def ours(name: str, network: str, *, width: float = 1.0, size: int = 224) -> Network:
    """A classifier of the family by its name."""
    return classifier(name, backbone(network, width=width), size=size)


def classifier(name: str, spec: BackboneSpec, *, size: int = 224) -> Network:
    """A backbone with a classifier of 1000 classes."""
    labels = tuple(str(i) for i in range(CLASSES))
    return Network(name, ModelSpec(spec, labels, InputContract(size=size)))


def _write_ours(spec: ModelSpec, path: Path) -> None:
    from mobilenets.exporters.onnx import export_onnx
    from mobilenets.model import create

    export_onnx(create(spec), path)


def _write_peer(peer: str, size: int, path: Path) -> None:
    """Write a peer's network with torch's own exporter, and compare it before the file gets its name."""
    import numpy as np
    import torch

    from mobilenets.files import drafted_folder
    from mobilenets.runtime.engines.onnx import OnnxEngine
    from mobilenets.runtime.manifest import Manifest, beside, write_beside
    from mobilenets.science.peers.table import PEERS

    try:
        import onnxscript  # noqa: F401  # torch's exporter writes with it
    except ImportError as error:
        raise MissingExtraError("onnxscript", "papers") from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = PEERS[peer]().eval()
        image = torch.randn(1, 3, size, size)
    draft = path.with_name(f".{path.stem}")
    with drafted_folder(draft) as folder:
        file = folder / path.name
        torch.onnx.export(
            module, (image,), file, input_names=["image"], output_names=["logits"], external_data=False, verbose=False
        )
        labels = tuple(str(i) for i in range(CLASSES))
        write_beside(file, Manifest(peer, labels, InputContract(size=size)))
        with torch.inference_mode():
            expected = module(image).numpy()
        found = OnnxEngine(file).run(image.numpy())["logits"]
        difference = float(np.abs(found - expected).max() / np.abs(expected).max())
        if not difference <= TOLERANCE:
            raise ExportError(f"'{peer}' in ONNX differs from torch by {difference:.1g} of its largest logit")
    for ready in (beside(draft / path.name), draft / path.name):
        ready.replace(path.with_name(ready.name))
    draft.rmdir()
