"""What the page's worker computes, called from Python."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.runtime.images.placement import Placement
from mobilenets.runtime.manifest import Manifest

if TYPE_CHECKING:
    from playwright.sync_api import Page

Floats = NDArray[np.float32]

# Arrays travel as base64: as JSON they would take seconds.
_BOTH_WAYS = """
  const fromBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const toBase64 = (array) => {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    let text = "";
    for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
    return btoa(text);
  };
  const tensor = ({ data, dims }) => ({ data: new Float32Array(fromBase64(data).buffer), dims });
  const packed = ({ data, dims }) => ({ data: toBase64(data), dims });
  const each = (record, change) => Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));
  const { predictor } = window.mobilenets;
"""


@dataclass(frozen=True, slots=True)
class Taught:
    """A head that was taught in the page.

    Args:
        weight: classes x features.
        bias: of each class.
        temperature: divides its logits.
        held_out: the class of each image by heads that had not seen it; None where none could be held out.
    """

    weight: Floats
    bias: Floats
    temperature: float
    held_out: NDArray[np.int64] | None


@dataclass(frozen=True, slots=True)
class InBrowser:
    """The worker of a page.

    Args:
        page: that is ready.
    """

    page: Page

    def open(self, network: Path, manifest: Manifest, *, runtime: str = "onnx") -> int:
        """Have the worker run another network, by another manifest, in a runtime that the page has.

        Returns the bytes that it needs besides its weights; 0 where the runtime does not say it.
        """
        peak: int | None = self._call(
            """const request = {
                runtime: given.runtime,
                network: fromBase64(given.network),
                folder: new URL(`engines/${given.runtime}/`, location.href).href,
                setting: { threads: 1 },
                manifest: JSON.parse(given.manifest),
            };
            return await predictor.ask("open", request);""",
            {
                "runtime": runtime,
                "network": base64.b64encode(network.read_bytes()).decode(),
                "manifest": manifest.to_json(),
            },
        )
        return peak or 0

    def keep(self, images: Sequence[bytes]) -> None:
        """Have the page hold encoded images, which `prepare_all` prepares."""
        self._call(
            "window.kept = given.map((image) => new Blob([fromBase64(image)]));",
            [base64.b64encode(image).decode() for image in images],
        )

    def prepare_all(self) -> list[tuple[Floats, Placement]]:
        """The network's input for each image that is kept, C H W, and where it lies on the image."""
        results = self._call(
            """const all = await Promise.all(window.kept.map((source) => predictor.ask("prepare", { source })));
            return all.map(({ image, placement }) => ({ image: packed(image), placement }));""",
            None,
        )
        return [(_array(result["image"])[0], _placement(result["placement"])) for result in results]

    def prepare(self, image: bytes) -> tuple[Floats, Placement]:
        """The same for one image."""
        self.keep([image])
        return self.prepare_all()[0]

    def run(self, batch: Floats) -> dict[str, Floats]:
        """The outputs for one preprocessed image, 1 C H W."""
        result = self._call("""return each(await predictor.ask("run", { image: tensor(given) }), packed);""", _packed(batch))
        return {name: _array(value) for name, value in result.items()}

    def decode(self, outputs: Mapping[str, Floats], placement: Placement) -> dict[str, Any]:  # Any: a prediction's fields
        """The prediction that the outputs are decoded to."""
        place = {
            "width": placement.width,
            "height": placement.height,
            "scaleX": placement.scale_x,
            "scaleY": placement.scale_y,
            "left": placement.left,
            "top": placement.top,
        }
        given = {"outputs": {name: _packed(value) for name, value in outputs.items()}, "placement": place}
        return self._prediction(
            """const request = { outputs: each(given.outputs, tensor), placement: given.placement };
            const prediction = await predictor.ask("decode", request);""",
            given,
        )

    def predict(self, image: bytes) -> dict[str, Any]:  # Any: as above
        """The prediction for an encoded image."""
        return self._prediction(
            """const { prediction } = await predictor.ask("predict", { source: new Blob([fromBase64(given)]) });""",
            base64.b64encode(image).decode(),
        )

    def teach(self, features: Floats, classes: NDArray[np.int64], *, takes: NDArray[np.int64]) -> Taught:
        """The head for images with these features, classes and takes."""
        count = int(classes.max()) + 1
        given = {"features": _packed(features), "classes": classes.tolist(), "takes": takes.tolist(), "count": count}
        result = self._call(
            """const { data, dims } = tensor(given.features);
            const features = Array.from({ length: dims[0] }, (_, i) => data.slice(i * dims[1], (i + 1) * dims[1]));
            const { head, temperature, heldOut } = await predictor.ask("teach", { ...given, features });
            return { weight: packed({ data: head.weight, dims: [given.count, dims[1]] }),
                bias: packed({ data: head.bias, dims: [given.count] }), temperature, heldOut };""",
            given,
        )
        held_out = None if result.get("heldOut") is None else np.asarray(result["heldOut"])
        return Taught(_array(result["weight"]), _array(result["bias"]), result["temperature"], held_out)

    def _prediction(self, script: str, given: object) -> dict[str, Any]:  # Any: as above
        fields = self._call(
            script
            + """return each(prediction, (value) => ArrayBuffer.isView(value)
                ? { data: toBase64(value), dims: [value.length], type: value.constructor.name } : value);""",
            given,
        )
        return {name: _array(value) if isinstance(value, dict) else value for name, value in fields.items()}

    def _call(self, script: str, given: object) -> Any:  # Any: what the script returns
        return self.page.evaluate(f"async (given) => {{ {_BOTH_WAYS} {script} }}", given)


_TYPES = {"Float32Array": np.float32, "Int32Array": np.int32, "Uint8Array": np.uint8}


def _array(value: Mapping[str, Any]) -> NDArray[Any]:  # Any: of several kinds of number
    kind = _TYPES[value.get("type", "Float32Array")]
    return np.frombuffer(base64.b64decode(value["data"]), kind).reshape(value["dims"])


def _placement(data: Mapping[str, Any]) -> Placement:  # Any: numbers
    return Placement(data["width"], data["height"], data["scaleX"], data["scaleY"], data["left"], data["top"])


def _packed(array: Floats) -> dict[str, object]:
    return {"data": base64.b64encode(np.ascontiguousarray(array).tobytes()).decode(), "dims": list(array.shape)}
