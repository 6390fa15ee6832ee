/** Detection: from scores and offsets at every anchor to boxes on the image. As `runtime/detect/decode.py`. */

import type { Placement } from "../contract/placement";
import { f32 } from "../contract/rounding";
import type { Outputs } from "../engines/engine";
import { inputShape, type Manifest, type SsdHead, taskOf } from "../manifest";
import { anchors } from "./anchors";
import { nms } from "./nms";
import type { Detections } from "./prediction";

/** A box grows to at most 62.5 times its anchor. */
const LARGEST = f32(Math.log(1000 / 16));

export function decodeDetections(outputs: Outputs, manifest: Manifest, place: Placement): Detections {
  const head = manifest.head as SsdHead;
  const [height, width] = inputShape(manifest.input);
  const own = anchors(head, height, width);
  const labels = manifest.labels.length;
  const logits = outputs["logits"]?.data;
  const offsets = outputs["offsets"]?.data;
  const columns = labels + (head.activation === "softmax" ? 1 : 0);
  if (logits?.length !== (own.length / 4) * columns || offsets?.length !== own.length) {
    throw new Error(`The network's outputs do not fit its ${own.length / 4} anchors and ${columns} columns of scores.`);
  }
  const scores = head.activation === "softmax" ? shares(logits, columns) : sigmoid(logits);
  const { anchorOf, classOf } = candidates(scores, labels, thresholdsOf(head, labels), head.candidates);
  const chosen = Float32Array.from(anchorOf, (anchor, i) => scores[anchor * labels + classOf[i]!]!);
  const boxes = boxesAt(anchorOf, offsets, own, head.variances, width, height);
  const kept = nms(boxes, chosen, Int32Array.from(classOf), head.iou, head.detections);
  return {
    task: "detect",
    width: place.width,
    height: place.height,
    boxes: placed(boxes, kept, place),
    scores: Float32Array.from(kept, (i) => chosen[i]!),
    classes: Int32Array.from(kept, (i) => classOf[i]!),
  };
}

/** The score that a box of each class must exceed: the larger of the class's threshold and the common one. */
export function thresholdsOf(head: SsdHead, labels: number): Float32Array {
  return Float32Array.from({ length: labels }, (_, k) => Math.max(f32(head.class_thresholds[k] ?? 0), f32(head.score_threshold)));
}

/** The manifest without the thresholds of its classes, and for any number of boxes: what is shown of them is chosen later. */
export function forAnyThreshold(manifest: Manifest): Manifest {
  if (taskOf(manifest) !== "detect") return manifest;
  const head = manifest.head as SsdHead;
  return { ...manifest, head: { ...head, class_thresholds: [], detections: head.candidates * manifest.labels.length } };
}

/** Softmax of each row, without the background, which is first. */
function shares(logits: Float32Array, columns: number): Float32Array {
  const rows = logits.length / columns;
  const result = new Float32Array(rows * (columns - 1));
  const exponents = new Float32Array(columns);
  for (let row = 0; row < rows; row += 1) {
    const at = row * columns;
    let highest = -Infinity;
    for (let k = 0; k < columns; k += 1) highest = Math.max(highest, logits[at + k]!);
    let total = 0;
    for (let k = 0; k < columns; k += 1) {
      exponents[k] = Math.exp(f32(logits[at + k]! - highest));
      total += exponents[k]!;
    }
    const factor = f32(1 / f32(total));
    for (let k = 1; k < columns; k += 1) result[row * (columns - 1) + k - 1] = exponents[k]! * factor;
  }
  return result;
}

function sigmoid(logits: Float32Array): Float32Array {
  return logits.map((logit) => 1 / f32(1 + f32(Math.exp(-logit))));
}

/** Anchor and class of the `most` highest scores of each class above its threshold, class by class, anchor by anchor. */
function candidates(scores: Float32Array, labels: number, thresholds: Float32Array, most: number) {
  const found: number[][] = Array.from({ length: labels }, () => []);
  for (let i = 0; i < scores.length; i += 1) {
    const label = i % labels;
    if (scores[i]! > thresholds[label]!) found[label]!.push((i - label) / labels);
  }
  const anchorOf: number[] = [];
  const classOf: number[] = [];
  found.forEach((all, label) => {
    const score = (anchor: number) => scores[anchor * labels + label]!;
    const chosen = all.length <= most ? all : all.sort((a, b) => score(b) - score(a) || a - b).slice(0, most).sort((a, b) => a - b);
    for (const anchor of chosen) {
      anchorOf.push(anchor);
      classOf.push(label);
    }
  });
  return { anchorOf, classOf };
}

/** Boxes x0 y0 x1 y1 in px of the input, clipped to it, from offsets tx ty tw th at their anchors (SSD, eq. 2). */
function boxesAt(
  chosen: readonly number[],
  offsets: Float32Array,
  anchors: Float32Array,
  variances: SsdHead["variances"],
  width: number,
  height: number,
): Float32Array {
  const boxes = new Float32Array(4 * chosen.length);
  chosen.forEach((anchor, i) => {
    for (const axis of [0, 1] as const) {
      const start = anchors[4 * anchor + axis]!;
      const length = f32(anchors[4 * anchor + axis + 2]! - start);
      const moved = f32(offsets[4 * anchor + axis]! * f32(variances[axis]));
      const grown = f32(offsets[4 * anchor + axis + 2]! * f32(variances[axis === 0 ? 2 : 3]));
      const center = f32(f32(moved * length) + f32(start + f32(0.5 * length)));
      const half = f32(0.5 * f32(f32(Math.exp(Math.min(grown, LARGEST))) * length));
      const most = axis === 0 ? width : height;
      boxes[4 * i + axis] = Math.min(most, Math.max(0, f32(center - half)));
      boxes[4 * i + axis + 2] = Math.min(most, Math.max(0, f32(center + half)));
    }
  });
  return boxes;
}

/** The kept boxes in px of the image, clipped to it. */
function placed(boxes: Float32Array, kept: readonly number[], place: Placement): Float32Array {
  const scales = [f32(place.scaleX), f32(place.scaleY)];
  const corner = [f32(place.left), f32(place.top)];
  const whole = [place.width, place.height];
  const result = new Float32Array(4 * kept.length);
  kept.forEach((from, to) => {
    for (let edge = 0; edge < 4; edge += 1) {
      const axis = edge % 2;
      const value = f32(f32(boxes[4 * from + edge]! * scales[axis]!) + corner[axis]!);
      result[4 * to + edge] = Math.min(whole[axis]!, Math.max(0, value));
    }
  });
  return result;
}
