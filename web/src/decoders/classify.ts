/** Classification: from logits to scores over labels. As `runtime/classify.py`. */

import type { Placement } from "../contract/placement";
import type { Outputs } from "../engines/engine";
import type { ClassifierHead, Manifest } from "../manifest";
import type { Classification } from "./prediction";

export function decodeClassification(outputs: Outputs, manifest: Manifest, place: Placement): Classification {
  const logits = outputs["logits"]?.data;
  if (logits === undefined || logits.length !== manifest.labels.length) {
    throw new Error(`The network gives ${logits?.length ?? "no"} logits, but its manifest has ${manifest.labels.length} labels.`);
  }
  const scores = softmax(logits, (manifest.head as ClassifierHead).temperature);
  return { task: "classify", width: place.width, height: place.height, scores, logits };
}

/** Scores of one row, after dividing the logits by `temperature`. */
export function softmax(logits: Float32Array, temperature = 1): Float32Array {
  const exponents = Float64Array.from(logits, (logit) => logit / temperature);
  const highest = exponents.reduce((most, value) => Math.max(most, value), -Infinity);
  let total = 0;
  for (let i = 0; i < exponents.length; i += 1) {
    exponents[i] = Math.exp(exponents[i]! - highest);
    total += exponents[i]!;
  }
  return Float32Array.from(exponents, (value) => value / total);
}

/** Indices of the `k` highest scores, best first; of equal ones the earlier first. */
export function best(scores: ArrayLike<number>, k: number): number[] {
  return Array.from(scores, (_, i) => i)
    .sort((a, b) => scores[b]! - scores[a]! || a - b)
    .slice(0, k);
}
