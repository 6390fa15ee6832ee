"""`bundle`: a folder for serving models with Docker, KServe or Triton.

The networks are laid out for Triton: `models/NAME/1/model.onnx` beside `models/NAME/config.pbtxt`. The container serves the
same files with `mobilenets serve`, so protocol clients need not know which of the two servers answers.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.errors import CheckpointError, UsageError
from mobilenets.files import drafted_folder
from mobilenets.runtime.engines.open import opened
from mobilenets.serve.model import INPUT, Source
from mobilenets.serve.names import check_names
from mobilenets.serve.protocol import Signature
from mobilenets.serve.tensors import DATATYPES, FLOATS

if TYPE_CHECKING:
    from mobilenets.runtime.manifest import Manifest

PORT = 8000
MOST_AT_ONCE = 32
"""Triton's maximum batch size for a network without a fixed one."""

GRACE_S = 60  # longer than a request may take
_USER = 10001  # any number except 0


@dataclass(frozen=True, slots=True)
class Network:
    """A network to bundle.

    Args:
        name: its name for clients.
        file: the ONNX file.
        manifest: the network's manifest.
        batch: the only number of images that it takes at once; None for any.
        outputs: the outputs, as the protocol's metadata describes them.
    """

    name: str
    file: Path
    manifest: Manifest
    batch: int | None
    outputs: Sequence[Signature]


_IMAGE = re.compile(r"[a-z0-9][a-z0-9._/-]*(:[0-9]+/[a-z0-9._/-]+)?(:[\w.-]+)?(@sha256:[0-9a-f]{64})?", re.ASCII)


def bundle(sources: Sequence[Source], folder: Path, *, image: str) -> list[Path]:
    """Write the folder, and return its files as paths relative to it.

    Args:
        sources: the models; each needs an ONNX file.
        folder: a folder that does not exist yet, or is empty.
        image: name for the container image.

    Raises:
        CheckpointError: a model cannot be opened.
        OSError: the folder cannot be written.
        UsageError: two models have the same name, the image name is invalid, or the folder is not empty.
    """
    if not _IMAGE.fullmatch(image):
        raise UsageError(
            f"'{image}' cannot be the name of a container's image", hint="host/name:tag, in lower case but for the tag"
        )
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"'{folder}' is not empty", hint="name a folder that does not exist yet")
    check_names([source.name for source in sources])
    networks = [network_of(source) for source in sources]
    with drafted_folder(folder) as draft:
        (draft / "wheels").mkdir()
        (draft / "wheels" / "README").write_text(_WHEELS, encoding="utf-8")
        (draft / "Dockerfile").write_text(dockerfile(networks), encoding="utf-8")
        (draft / "inference_service.yaml").write_text(inference_service(networks, image), encoding="utf-8")
        for network in networks:
            place = draft / "models" / network.name
            (place / "1").mkdir(parents=True)
            shutil.copyfile(network.file, place / "1" / "model.onnx")
            (place / "config.pbtxt").write_text(triton_config(network), encoding="utf-8")
            (place / "labels.txt").write_text(
                "".join(f"{_line(label)}\n" for label in network.manifest.labels), encoding="utf-8"
            )
    return sorted(file.relative_to(folder) for file in folder.rglob("*") if file.is_file())


def network_of(source: Source) -> Network:
    """The network to bundle for a model.

    Raises:
        CheckpointError: it has no ONNX file, or cannot run.
    """
    found = opened(source.path, engine="onnx")
    contract = found.manifest.input
    image = np.zeros((found.engine.batch or 1, contract.channels, *contract.shape), np.float32)
    outputs = found.engine.run(image)
    file = Path(found.engine.source)
    found.engine.close()
    if not file.is_file():
        raise CheckpointError(f"'{source.path}' has no ONNX file", hint="mobilenets export RUN --to onnx writes one")
    signatures = [Signature(name, DATATYPES[array.dtype.name], (-1, *array.shape[1:])) for name, array in outputs.items()]
    return Network(source.name, file, found.manifest, found.engine.batch, signatures)


def dockerfile(networks: Sequence[Network]) -> str:
    """The Dockerfile of a container that serves the networks."""
    models = [f"{network.name}=/models/{network.name}/1/model.onnx" for network in networks]
    command = [*models, "--host", "0.0.0.0", "--port", str(PORT), "--json"]
    healthy = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{PORT}/v2/health/ready')"
    return f"""\
# In this folder, when wheels/ holds the wheel of mobilenets: docker build -t IMAGE .
FROM python:3.12-slim
COPY wheels/ /tmp/wheels/
RUN pip install --no-cache-dir --find-links /tmp/wheels 'mobilenets[serve]' && rm -r /tmp/wheels
COPY models/ /models/
RUN useradd --system --uid {_USER} --create-home mobilenets
USER {_USER}
ENV OMP_NUM_THREADS=1
EXPOSE {PORT}
HEALTHCHECK CMD {json.dumps(["python", "-c", healthy])}
ENTRYPOINT ["mobilenets", "serve"]
CMD {json.dumps(command)}
"""


def inference_service(networks: Sequence[Network], image: str) -> str:
    """The manifest that runs the container in KServe."""
    import yaml  # type: ignore[import-untyped]  # it ships no types

    def probe(path: str) -> dict[str, object]:
        return {"httpGet": {"path": path, "port": PORT}, "periodSeconds": 5}

    container = {
        "name": "kserve-container",
        "image": image,
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": probe("/v2/health/ready"),
        "livenessProbe": probe("/v2/health/live"),
        "resources": {"requests": {"cpu": "1", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
        "securityContext": {"runAsNonRoot": True, "runAsUser": _USER, "allowPrivilegeEscalation": False},
    }
    scraped = {"prometheus.io/scrape": "true", "prometheus.io/port": str(PORT), "prometheus.io/path": "/metrics"}
    data = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": service_name(networks[0].name), "annotations": scraped},
        "spec": {"predictor": {"minReplicas": 1, "terminationGracePeriodSeconds": GRACE_S, "containers": [container]}},
    }
    text: str = yaml.safe_dump(data, sort_keys=False)
    return text


def triton_config(network: Network) -> str:
    """A network's configuration for Triton's model repository; one of its parameters is our manifest.

    If a network takes any number of images, Triton adds the batch axis itself.
    """
    any_number = network.batch is None

    def tensor(signature: Signature, *more: str) -> str:
        dims = ", ".join(str(side) for side in (signature.shape[1:] if any_number else (network.batch, *signature.shape[1:])))
        lines = [f"name: {_text(signature.name)}", f"data_type: TYPE_{signature.datatype}", f"dims: [ {dims} ]", *more]
        return "\n".join(["  {", *(f"    {line}" for line in lines), "  }"])

    shape = (-1, network.manifest.input.channels, *network.manifest.input.shape)
    labeled = ['label_filename: "labels.txt"'] if network.manifest.task == "classify" else []
    return "\n".join(
        [
            f"name: {_text(network.name)}",
            'backend: "onnxruntime"',
            f"max_batch_size: {MOST_AT_ONCE if any_number else 0}",
            "input [",
            tensor(Signature(INPUT, FLOATS, shape)),
            "]",
            "output [",
            ",\n".join(tensor(output, *labeled) for output in network.outputs),
            "]",
            "instance_group [ { kind: KIND_CPU } ]",
            *(["dynamic_batching { }"] if any_number else []),
            'parameters { key: "mobilenets" value { string_value: ' + _text(network.manifest.to_json()) + " } }",
            "",
        ]
    )


def service_name(name: str) -> str:
    """A name in the form that Kubernetes accepts.

    >>> service_name("Solar_cells.v2")
    'solar-cells-v2'
    """
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")[:63].rstrip("-") or "model"


def _text(text: str) -> str:
    """A text in protobuf's text format: bytes that are not printable ASCII are written in octal."""
    kept = {ord('"'): '\\"', ord("\\"): "\\\\"}
    return '"' + "".join(kept.get(byte, chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}") for byte in text.encode()) + '"'


def _line(label: str) -> str:
    return " ".join(label.splitlines())


_WHEELS = """\
Put the wheel of mobilenets here before you build the image: 'make wheel' in a clone writes it into dist/.
"""
