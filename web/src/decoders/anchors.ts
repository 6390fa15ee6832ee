/** Where a detector's anchors lie. As `runtime/detect/anchors.py`, in the same 32-bit floats. */

import { f32 } from "../contract/rounding";
import type { SsdHead } from "../manifest";

/** x0 y0 x1 y1 of every anchor in px of the input: map by map, row by row, all shapes of a place together. */
export function anchors(head: SsdHead, height: number, width: number): Float32Array {
  const boxes: number[] = [];
  const shorter = Math.min(height, width);
  head.strides.forEach((stride, map) => {
    const rows = Math.ceil(height / stride);
    const columns = Math.ceil(width / stride);
    const sides = head.anchors[map]!.map(([scale, ratio]) => {
      const root = Math.sqrt(ratio);
      const across = scale * root * (shorter / width);
      const down = (scale / root) * (shorter / height);
      return head.clip ? ([Math.min(across, 1), Math.min(down, 1)] as const) : ([across, down] as const);
    });
    for (let row = 0; row < rows; row += 1) {
      const y = f32((row + 0.5) / rows);
      for (let column = 0; column < columns; column += 1) {
        const x = f32((column + 0.5) / columns);
        for (const [across, down] of sides) {
          const halfWidth = f32(0.5 * f32(across));
          const halfHeight = f32(0.5 * f32(down));
          boxes.push(f32(x - halfWidth) * width, f32(y - halfHeight) * height);
          boxes.push(f32(x + halfWidth) * width, f32(y + halfHeight) * height);
        }
      }
    }
  });
  return Float32Array.from(boxes);
}
