/** A decoded image -> the array that a network takes, by its input contract. As `runtime/images/prepare.py`. */

import { type InputContract, inputShape } from "../manifest";
import { axis } from "./axis";
import { colored, grey, type Image } from "./image";
import { type Fit, fit, type Placement, placement, type Rectangle } from "./placement";
import { resample } from "./resample";
import { f32 } from "./rounding";

/** The network's input for one image. */
export interface Prepared {
  /** C H W. */
  readonly values: Float32Array;
  readonly shape: readonly [channels: number, height: number, width: number];
  readonly placement: Placement;
}

/** Sides of an input: beyond this a resized image is cut before it is made. */
const LONGEST = 8;

export function prepare(image: Image, contract: InputContract): Prepared {
  if (contract.channels !== 1 && contract.channels !== 3) {
    throw new Error(`The network takes ${contract.channels} channels, which no image file has.`);
  }
  const seen = contract.channels === 1 ? grey(image) : colored(image);
  const [height, width] = inputShape(contract);
  const shape = [contract.channels, height, width] as const;
  const place = placement(image.width, image.height, contract);
  if (contract.resize === "sample") {
    return { values: normalized(sampled(seen, height, width), seen.channels, contract), shape, placement: place };
  }
  const way = fit(image.width, image.height, contract);
  const inner = resized(seen, way, height, width, contract);
  const values = normalized(inner.data, inner.channels, contract);
  if (inner.width === width && inner.height === height) return { values, shape, placement: place };
  return { values: padded(values, inner, way, shape), shape, placement: place };
}

/** The image as it lies under the input; by "letterbox" only one of its sides is as long. */
function resized(image: Image, way: Fit, inputHeight: number, inputWidth: number, contract: InputContract): Image {
  const cut = cutOut(image, way.cut);
  const { width, height } = way;
  if (width <= inputWidth && height <= inputHeight) return resample(cut, width, height, contract.interpolation);
  if (Math.max(width, height) > LONGEST * Math.min(width, height)) {
    const scaleX = cut.width / width;
    const scaleY = cut.height / height;
    const box: Rectangle = [
      way.left * scaleX,
      way.top * scaleY,
      (way.left + inputWidth) * scaleX,
      (way.top + inputHeight) * scaleY,
    ];
    return resample(cut, inputWidth, inputHeight, contract.interpolation, undefined, box);
  }
  const window = { left: way.left, top: way.top, width: inputWidth, height: inputHeight };
  return resample(cut, width, height, contract.interpolation, window);
}

function cutOut(image: Image, [x0, y0, x1, y1]: Rectangle): Image {
  if (x0 === 0 && y0 === 0 && x1 === image.width && y1 === image.height) return image;
  const { channels } = image;
  const width = x1 - x0;
  const height = y1 - y0;
  const data = new Uint8Array(width * height * channels);
  for (let y = 0; y < height; y += 1) {
    const from = ((y0 + y) * image.width + x0) * channels;
    data.set(image.data.subarray(from, from + width * channels), y * width * channels);
  }
  return { width, height, channels, data };
}

/** Each pixel from the four nearest to its center, neither antialiased nor rounded: torch's plain bilinear interpolation. */
function sampled(image: Image, height: number, width: number): Float32Array {
  const { channels, data } = image;
  const rows = axis(height, image.height, { size: height });
  const columns = axis(width, image.width, { size: width });
  const result = new Float32Array(width * height * channels);
  const tall = new Float32Array(image.width * channels);
  const stride = image.width * channels;
  for (let y = 0; y < height; y += 1) {
    const above = rows.low[y]! * stride;
    const below = rows.high[y]! * stride;
    for (let i = 0; i < stride; i += 1) {
      tall[i] = f32(f32(data[below + i]! - data[above + i]!) * rows.share[y]!) + data[above + i]!;
    }
    for (let x = 0; x < width; x += 1) {
      for (let c = 0; c < channels; c += 1) {
        const first = tall[columns.low[x]! * channels + c]!;
        const second = tall[columns.high[x]! * channels + c]!;
        result[(y * width + x) * channels + c] = f32(f32(second - first) * columns.share[x]!) + first;
      }
    }
  }
  return result;
}

/** Pixels H W C as C H W: `(pixel / 255 - mean) / std`, in 32-bit floats. */
function normalized(pixels: Uint8Array | Float32Array, channels: number, contract: InputContract): Float32Array {
  const area = pixels.length / channels;
  const values = new Float32Array(pixels.length);
  for (let c = 0; c < channels; c += 1) {
    const mean = contract.mean[contract.mean.length === 1 ? 0 : c]!;
    const std = contract.std[contract.std.length === 1 ? 0 : c]!;
    const factor = f32(1 / (255 * std));
    const shift = f32(mean / std);
    for (let i = 0; i < area; i += 1) values[c * area + i] = f32(pixels[i * channels + c]! * factor) - shift;
  }
  return values;
}

/** The input with the resized image in its place and zeros, the mean, around it. */
function padded(values: Float32Array, inner: Image, way: Fit, shape: Prepared["shape"]): Float32Array {
  const [channels, height, width] = shape;
  const result = new Float32Array(channels * height * width);
  for (let c = 0; c < channels; c += 1) {
    for (let y = 0; y < inner.height; y += 1) {
      const from = (c * inner.height + y) * inner.width;
      result.set(values.subarray(from, from + inner.width), (c * height + y - way.top) * width - way.left);
    }
  }
  return result;
}
