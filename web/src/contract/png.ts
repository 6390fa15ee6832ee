/**
 * Grey PNG files of 16 bits, which cameras, scanners and microscopes write. Browsers keep the upper 8 bits only, so that the 12 bits
 * of a camera come out nearly black; here they are scaled as the Python package scales them (`runtime/images/depth.py`).
 */

import type { Image } from "./image";
import { roundHalfEven } from "./rounding";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
/** Bytes of the signature and the header, which comes first. */
const HEAD = 33;
/** Chunks that turn the image or make parts of it clear: such files are left to the browser. */
const OTHERS = new Set(["eXIf", "tRNS"]);

/** First column, first row, and the steps between them, of the seven images of an interlaced file. */
// prettier-ignore
const ADAM7 = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]] as const;

/** The image in 8 bits; undefined if the file is not such a PNG, or is damaged. */
export async function decodeDeepGrey(file: Blob): Promise<Image | undefined> {
  const head = new DataView(await file.slice(0, HEAD).arrayBuffer());
  if (head.byteLength < HEAD || SIGNATURE.some((byte, i) => head.getUint8(i) !== byte)) return undefined;
  const [depth, colors, interlaced] = [head.getUint8(24), head.getUint8(25), head.getUint8(28) === 1];
  if (depth !== 16 || colors !== 0) return undefined;
  const width = head.getUint32(16);
  const height = head.getUint32(20);
  try {
    const data = compressed(new Uint8Array(await file.arrayBuffer()));
    if (data === undefined) return undefined;
    const values = valuesOf(await inflated(data), width, height, interlaced);
    return { width, height, channels: 1, data: eightBits(values) };
  } catch {
    return undefined;
  }
}

/** The compressed pixels of all chunks; undefined where a chunk says something that we do not read. */
function compressed(file: Uint8Array): Blob | undefined {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for (let at = SIGNATURE.length; at + 12 <= file.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...file.subarray(at + 4, at + 8));
    if (OTHERS.has(kind)) return undefined;
    if (kind === "IDAT") parts.push(file.slice(at + 8, at + 8 + length));
    at += 12 + length;
  }
  return new Blob(parts);
}

async function inflated(data: Blob): Promise<Uint8Array> {
  const stream = data.stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function valuesOf(bytes: Uint8Array, width: number, height: number, interlaced: boolean): Uint16Array {
  const values = new Uint16Array(width * height);
  let at = 0;
  for (const [left, top, across, down] of interlaced ? ADAM7 : [[0, 0, 1, 1] as const]) {
    const columns = Math.ceil((width - left) / across);
    const rows = Math.ceil((height - top) / down);
    if (columns <= 0 || rows <= 0) continue;
    const length = 2 * columns;
    if (at + rows * (length + 1) > bytes.length) throw new Error("The file ends before the image does.");
    let before = new Uint8Array(length);
    for (let row = 0; row < rows; row += 1) {
      const line = bytes.subarray(at + 1, at + 1 + length);
      unfilter(bytes[at]!, line, before);
      for (let i = 0; i < columns; i += 1) {
        values[(top + row * down) * width + left + i * across] = (line[2 * i]! << 8) | line[2 * i + 1]!;
      }
      before = line as Uint8Array<ArrayBuffer>;
      at += length + 1;
    }
  }
  return values;
}

/** Undoes a row's filter (PNG, section 9); its pixels have two bytes. */
function unfilter(kind: number, line: Uint8Array, before: Uint8Array): void {
  for (let i = 0; i < line.length; i += 1) {
    const left = i < 2 ? 0 : line[i - 2]!;
    const up = before[i]!;
    const corner = i < 2 ? 0 : before[i - 2]!;
    const guess = [0, left, up, (left + up) >> 1, nearest(left, up, corner)][kind];
    if (guess === undefined) throw new Error(`There is no filter ${kind}.`);
    line[i] = line[i]! + guess;
  }
}

function nearest(left: number, up: number, corner: number): number {
  const guess = left + up - corner;
  const [toLeft, toUp, toCorner] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}

/** By the full range of 16 bits; of 12 or 8 bits where all values fit into those. */
function eightBits(values: Uint16Array): Uint8Array {
  let high = 0;
  let expanded = true;
  for (const value of values) {
    high = Math.max(high, value);
    expanded = expanded && value % 257 === 0;
  }
  const most = expanded || high > 4095 ? 65535 : high > 255 ? 4095 : 255;
  const levels = Uint8Array.from({ length: most + 1 }, (_, value) => roundHalfEven(value * (255 / most)));
  const result = new Uint8Array(values.length);
  for (let i = 0; i < values.length; i += 1) result[i] = levels[values[i]!]!;
  return result;
}
