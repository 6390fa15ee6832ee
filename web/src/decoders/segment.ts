/** Segmentation: from coarse logits to the class of every pixel of the image. As `runtime/segment/upsample.py`. */

import { type Axis, axis } from "../contract/axis";
import type { Placement } from "../contract/placement";
import { f32 } from "../contract/rounding";
import type { Outputs, Tensor } from "../engines/engine";
import { inputShape, type Manifest, type SegmentationHead } from "../manifest";
import type { Segmentation } from "./prediction";

/** Labels that a mask of 8 bits can hold. */
const MOST = 255;

export function decodeSegmentation(outputs: Outputs, manifest: Manifest, place: Placement): Segmentation {
  const logits = outputs["logits"];
  const labels = manifest.labels.length;
  if (logits === undefined || logits.dims.length !== 4 || logits.dims[1] !== labels) {
    throw new Error(`The network gives logits of shape ${logits?.dims.join(" x ") ?? "none"}, but its manifest has ${labels} labels.`);
  }
  if (labels > MOST) throw new Error(`The network has ${labels} labels; a mask holds ${MOST}.`);
  const [height, width] = inputShape(manifest.input);
  const alignCorners = (manifest.head as SegmentationHead).align_corners;
  const [, , h, w] = logits.dims as [number, number, number, number];
  const rows = axis(place.height, h, { size: height, scale: place.scaleY, start: place.top, alignCorners });
  const columns = axis(place.width, w, { size: width, scale: place.scaleX, start: place.left, alignCorners });
  const classes = largest(logits, rows, columns);
  const areas = new Array<number>(labels).fill(0);
  for (const label of classes) areas[label]! += 1;
  return { task: "segment", width: place.width, height: place.height, classes, areas };
}

/** The class of every pixel. Only cells of the map whose corners differ are interpolated: every mean of equals is the same. */
function largest({ data, dims }: Tensor, rows: Axis, columns: Axis): Uint8Array {
  const [, labels, h, w] = dims as [number, number, number, number];
  const area = h * w;
  const preferred = new Uint8Array(area);
  for (let place = 0; place < area; place += 1) {
    let highest = data[place]!;
    for (let k = 1; k < labels; k += 1) {
      if (data[k * area + place]! > highest) {
        highest = data[k * area + place]!;
        preferred[place] = k;
      }
    }
  }
  const width = columns.low.length;
  const classes = new Uint8Array(rows.low.length * width);
  const top = new Float32Array(labels);
  const change = new Float32Array(labels);
  for (let x = 0; x < width; x += 1) {
    const [left, right, share] = [columns.low[x]!, columns.high[x]!, columns.share[x]!];
    let cell = -1;
    let mixed = false;
    for (let y = 0; y < rows.low.length; y += 1) {
      const above = rows.low[y]! * w;
      const below = rows.high[y]! * w;
      if (above !== cell) {
        cell = above;
        const first = preferred[above + left]!;
        mixed = preferred[above + right] !== first || preferred[below + left] !== first || preferred[below + right] !== first;
        if (mixed) column(data, area, above + left, above + right, below + left, below + right, share, top, change);
      }
      classes[y * width + x] = mixed ? highestOf(top, change, rows.share[y]!) : preferred[above + left]!;
    }
  }
  return classes;
}

/** Down a column of a cell the value of each class is linear: `top + change * ratio`. */
function column(
  data: Float32Array,
  area: number,
  aboveLeft: number,
  aboveRight: number,
  belowLeft: number,
  belowRight: number,
  share: number,
  top: Float32Array,
  change: Float32Array,
): void {
  for (let k = 0, at = 0; k < top.length; k += 1, at += area) {
    const upper = f32(data[at + aboveLeft]! + f32(f32(data[at + aboveRight]! - data[at + aboveLeft]!) * share));
    const lower = f32(data[at + belowLeft]! + f32(f32(data[at + belowRight]! - data[at + belowLeft]!) * share));
    top[k] = upper;
    change[k] = lower - upper;
  }
}

function highestOf(top: Float32Array, change: Float32Array, ratio: number): number {
  let label = 0;
  let highest = f32(top[0]! + f32(change[0]! * ratio));
  for (let k = 1; k < top.length; k += 1) {
    const value = f32(f32(ratio * change[k]!) + top[k]!);
    if (value > highest) {
      highest = value;
      label = k;
    }
  }
  return label;
}
