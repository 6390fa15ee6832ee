/** From a network's outputs to a prediction, by task. */

import type { Placement } from "../contract/placement";
import type { Outputs } from "../engines/engine";
import { type Manifest, type Task, taskOf } from "../manifest";
import { decodeClassification } from "./classify";
import { decodeDetections } from "./detect";
import type { Prediction } from "./prediction";
import { decodeSegmentation } from "./segment";

type Decoder = (outputs: Outputs, manifest: Manifest, place: Placement) => Prediction;

const DECODERS: Record<Task, Decoder> = {
  classify: decodeClassification,
  detect: decodeDetections,
  segment: decodeSegmentation,
};

export function decode(outputs: Outputs, manifest: Manifest, place: Placement): Prediction {
  return DECODERS[taskOf(manifest)](outputs, manifest, place);
}
