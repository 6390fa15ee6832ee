/**
 * Antialiased resizing to the bit as Pillow does it: two passes over 8-bit pixels with weights in 22-bit fixed point. The first
 * pass is across, but down where that leaves much less for the second (since Pillow 13; before, it was always across).
 */

import type { Interpolation } from "../manifest";
import type { Image } from "./image";
import type { Rectangle } from "./placement";
import { f32 } from "./rounding";

interface Filter {
  readonly support: number;
  readonly weight: (x: number) => number;
}

const FILTERS: Record<Exclude<Interpolation, "nearest">, Filter> = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: cubic },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

const PRECISION_BITS = 22;
const ONE = 1 << PRECISION_BITS;
const HALF = 1 << (PRECISION_BITS - 1);

/** The part of a resized image that is wanted, px of the resized image. */
export interface Window {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/**
 * A window of the image as it is at another size.
 *
 * @param box the part of the image that is resized, px, not always whole ones.
 */
export function resample(
  image: Image,
  width: number,
  height: number,
  interpolation: Interpolation,
  window: Window = { left: 0, top: 0, width, height },
  box: Rectangle = [0, 0, image.width, image.height],
): Image {
  if (interpolation === "nearest") return nearest(image, width, height, window, box);
  const filter = FILTERS[interpolation];
  const across = taps(image.width, box[0], box[2], width, filter, window.left, window.width);
  const down = taps(image.height, box[1], box[3], height, filter, window.top, window.height);
  if (image.height - height > 2 * Math.max(0, image.width - width)) {
    return horizontal(vertical(image, down, 0), across, 0, window.height);
  }
  const [first, last] = [down.first[0] ?? 0, (down.first.at(-1) ?? 0) + (down.count.at(-1) ?? 0)];
  return vertical(horizontal(image, across, first, last), down, first);
}

/** Which pixels each resized pixel is made of, and with what weights. */
interface Taps {
  readonly first: Int32Array;
  readonly count: Int32Array;
  /** `most` weights for each pixel. */
  readonly weights: Int32Array;
  readonly most: number;
}

function taps(size: number, start: number, end: number, resized: number, filter: Filter, from: number, length: number): Taps {
  const begin = f32(start);
  const scale = f32(f32(end) - begin) / resized;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  const most = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(length);
  const count = new Int32Array(length);
  const weights = new Int32Array(length * most);
  const exact = new Float64Array(most);
  for (let i = 0; i < length; i += 1) {
    const center = begin + (from + i + 0.5) * scale;
    const low = Math.max(0, Math.trunc(center - support + 0.5));
    const high = Math.min(size, Math.trunc(center + support + 0.5));
    let total = 0;
    for (let k = 0; k < high - low; k += 1) {
      const weight = filter.weight((k + low - center + 0.5) * (1 / stretch));
      exact[k] = weight;
      total += weight;
    }
    for (let k = 0; k < high - low; k += 1) {
      const weight = total === 0 ? exact[k]! : exact[k]! / total;
      weights[i * most + k] = Math.trunc((weight < 0 ? -0.5 : 0.5) + weight * ONE);
    }
    first[i] = low;
    count[i] = high - low;
  }
  return { first, count, weights, most };
}

/** The rows from `first` to before `last`, resized across. */
function horizontal(image: Image, taps: Taps, first: number, last: number): Image {
  const { channels, data } = image;
  const width = taps.first.length;
  const rows = last - first;
  const result = new Uint8Array(width * rows * channels);
  const stride = image.width * channels;
  let to = 0;
  for (let y = first; y < last; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const at = x * taps.most;
      const count = taps.count[x]!;
      let from = y * stride + taps.first[x]! * channels;
      if (channels === 3) {
        let red = HALF;
        let green = HALF;
        let blue = HALF;
        for (let k = 0; k < count; k += 1, from += 3) {
          const weight = taps.weights[at + k]!;
          red = (red + Math.imul(data[from]!, weight)) | 0;
          green = (green + Math.imul(data[from + 1]!, weight)) | 0;
          blue = (blue + Math.imul(data[from + 2]!, weight)) | 0;
        }
        result[to] = clipped(red);
        result[to + 1] = clipped(green);
        result[to + 2] = clipped(blue);
      } else {
        let sum = HALF;
        for (let k = 0; k < count; k += 1, from += 1) sum = (sum + Math.imul(data[from]!, taps.weights[at + k]!)) | 0;
        result[to] = clipped(sum);
      }
      to += channels;
    }
  }
  return { width, height: rows, channels, data: result };
}

/** The image resized down, whose first row is row `offset` of the image that the taps are for. */
function vertical(image: Image, taps: Taps, offset: number): Image {
  const { channels, data } = image;
  const height = taps.first.length;
  const stride = image.width * channels;
  const result = new Uint8Array(stride * height);
  const sums = new Int32Array(stride);
  for (let y = 0; y < height; y += 1) {
    sums.fill(HALF);
    for (let k = 0; k < taps.count[y]!; k += 1) {
      const weight = taps.weights[y * taps.most + k]!;
      const from = (taps.first[y]! - offset + k) * stride;
      for (let i = 0; i < stride; i += 1) sums[i] = sums[i]! + Math.imul(data[from + i]!, weight);
    }
    for (let i = 0; i < stride; i += 1) result[y * stride + i] = clipped(sums[i]!);
  }
  return { width: image.width, height, channels, data: result };
}

function nearest(image: Image, width: number, height: number, window: Window, box: Rectangle): Image {
  const { channels, data } = image;
  const result = new Uint8Array(window.width * window.height * channels);
  const columns = places(image.width, f32(box[0]), f32(box[2]), width);
  const rows = places(image.height, f32(box[1]), f32(box[3]), height);
  let to = 0;
  for (let y = window.top; y < window.top + window.height; y += 1) {
    for (let x = window.left; x < window.left + window.width; x += 1) {
      const from = (rows[y]! * image.width + columns[x]!) * channels;
      for (let c = 0; c < channels; c += 1) result[to + c] = data[from + c]!;
      to += channels;
    }
  }
  return { width: window.width, height: window.height, channels, data: result };
}

/** The pixel at the center of each resized pixel, summed up step by step as Pillow does. */
function places(size: number, start: number, end: number, resized: number): Int32Array {
  const scale = f32(end - start) / resized;
  const result = new Int32Array(resized);
  let at = start + scale * 0.5;
  for (let i = 0; i < resized; i += 1) {
    result[i] = Math.min(size - 1, Math.max(0, Math.floor(at)));
    at += scale;
  }
  return result;
}

function clipped(sum: number): number {
  const value = sum >> PRECISION_BITS;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

function cubic(x: number): number {
  const a = -0.5;
  x = Math.abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

function sinc(x: number): number {
  if (x === 0) return 1;
  return Math.sin(x * Math.PI) / (x * Math.PI);
}
