/**
 * WebP files with an EXIF orientation, which some browsers turn and others do not: the orientation is taken out of the file
 * before it is decoded, and applied here.
 */

import type { Image } from "./image";

const RIFF = 0x52494646;
const WEBP = 0x57454250;
const EXIF = 0x45584946;
const EXTENDED = 0x56503858;
/** In the first byte of the extended header: there is EXIF. */
const HAS_EXIF = 0x08;
const ORIENTATION = 0x0112;

/** The file without its EXIF, and the orientation that it had; undefined for files that need no turning. */
export async function withoutOrientation(file: Blob): Promise<{ file: Blob; orientation: number } | undefined> {
  const head = new DataView(await file.slice(0, 12).arrayBuffer());
  if (head.byteLength < 12 || head.getUint32(0) !== RIFF || head.getUint32(8) !== WEBP) return undefined;
  const bytes = new Uint8Array(await file.arrayBuffer());
  const view = new DataView(bytes.buffer);
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let orientation = 1;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const kind = view.getUint32(at);
    const length = view.getUint32(at + 4, true);
    const end = Math.min(bytes.length, at + 8 + length + (length % 2));
    const part = bytes.slice(at, end);
    if (kind === EXIF) orientation = orientationOf(part.subarray(8)) ?? orientation;
    else parts.push(part);
    if (kind === EXTENDED) part[8]! &= ~HAS_EXIF;
    at = end;
  }
  if (orientation === 1) return undefined;
  const start = bytes.slice(0, 12);
  new DataView(start.buffer).setUint32(4, 4 + parts.reduce((sum, part) => sum + part.length, 0), true);
  return { file: new Blob([start, ...parts], { type: "image/webp" }), orientation };
}

/** The orientation in EXIF data, 1 to 8; undefined where there is none, or the data are damaged. */
function orientationOf(data: Uint8Array): number | undefined {
  const named = String.fromCharCode(...data.subarray(0, 4)) === "Exif";
  const exif = named ? data.subarray(6) : data;
  const view = new DataView(exif.buffer, exif.byteOffset, exif.byteLength);
  try {
    const little = view.getUint16(0) === 0x4949;
    const first = view.getUint32(4, little);
    for (let i = 0; i < view.getUint16(first, little); i += 1) {
      const entry = first + 2 + 12 * i;
      if (view.getUint16(entry, little) !== ORIENTATION) continue;
      const value = view.getUint16(entry + 8, little);
      return value >= 1 && value <= 8 ? value : undefined;
    }
  } catch {
    // It ends too early.
  }
  return undefined;
}

/** The image turned upright. */
export function turned({ width, height, channels, data }: Image, orientation: number): Image {
  const across = orientation > 4;
  const [w, h] = across ? [height, width] : [width, height];
  const flipX = [2, 3, 7, 8].includes(orientation);
  const flipY = [3, 4, 6, 7].includes(orientation);
  const result = new Uint8Array(data.length);
  for (let y = 0, to = 0; y < h; y += 1) {
    for (let x = 0; x < w; x += 1, to += channels) {
      const [column, row] = across ? [y, x] : [x, y];
      const from = ((flipY ? height - 1 - row : row) * width + (flipX ? width - 1 - column : column)) * channels;
      for (let c = 0; c < channels; c += 1) result[to + c] = data[from + c]!;
    }
  }
  return { width: w, height: h, channels, data: result };
}
