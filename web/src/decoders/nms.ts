/** Non-maximum suppression, with the result of `runtime/detect/nms.py` in the same 32-bit floats. */

import { f32 } from "../contract/rounding";

/**
 * Indices of the boxes that stay when each box suppresses those of its own class that overlap it and score lower; the highest
 * score first, of equal ones the earlier box.
 *
 * @param boxes x0 y0 x1 y1, four a box.
 * @param most how many to keep.
 */
export function nms(boxes: Float32Array, scores: Float32Array, classes: Int32Array, iou: number, most: number): number[] {
  const limit = below(iou);
  const areas = Float32Array.from(scores, (_, i) => f32(side(boxes, i, 0) * side(boxes, i, 1)));
  const order = Array.from(scores, (_, i) => i).sort((a, b) => scores[b]! - scores[a]! || a - b);
  const kept: number[] = [];
  const keptOf = new Map<number, number[]>();
  for (const i of order) {
    const rivals = keptOf.get(classes[i]!) ?? [];
    if (rivals.some((j) => overlap(boxes, areas, i, j) > limit)) continue;
    kept.push(i);
    if (kept.length === most) break;
    keptOf.set(classes[i]!, [...rivals, i]);
  }
  return kept;
}

/** Intersection over union; NaN of two empty boxes, which exceeds nothing. */
function overlap(boxes: Float32Array, areas: Float32Array, i: number, j: number): number {
  const across = Math.max(0, f32(Math.min(boxes[4 * i + 2]!, boxes[4 * j + 2]!) - Math.max(boxes[4 * i]!, boxes[4 * j]!)));
  const down = Math.max(0, f32(Math.min(boxes[4 * i + 3]!, boxes[4 * j + 3]!) - Math.max(boxes[4 * i + 1]!, boxes[4 * j + 1]!)));
  const shared = f32(across * down);
  return f32(shared / f32(f32(areas[i]! + areas[j]!) - shared));
}

function side(boxes: Float32Array, i: number, axis: 0 | 1): number {
  return f32(boxes[4 * i + 2 + axis]! - boxes[4 * i + axis]!);
}

/** The largest 32-bit float that does not exceed the value, which is not negative. */
function below(value: number): number {
  const nearest = f32(value);
  if (nearest <= value) return nearest;
  const bits = new Uint32Array(Float32Array.of(nearest).buffer);
  bits[0] = bits[0]! - 1;
  return new Float32Array(bits.buffer)[0]!;
}
