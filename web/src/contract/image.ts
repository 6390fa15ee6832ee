/** A decoded image: 8 bits, row by row, the channels of a pixel side by side. */
export interface Image {
  readonly width: number;
  readonly height: number;
  /** 3 for red, green and blue, 1 for grey. */
  readonly channels: 1 | 3;
  readonly data: Uint8Array;
}

/** Red, green and blue of pixels that have alpha beside them; it is left out. */
export function withoutAlpha(rgba: Uint8ClampedArray, width: number, height: number): Image {
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < data.length; from += 4, to += 3) {
    data[to] = rgba[from]!;
    data[to + 1] = rgba[from + 1]!;
    data[to + 2] = rgba[from + 2]!;
  }
  return { width, height, channels: 3, data };
}

/** The image in grey by ITU-R 601, with the fixed-point weights of Pillow. */
export function grey(image: Image): Image {
  if (image.channels === 1) return image;
  const { width, height, data: rgb } = image;
  const data = new Uint8Array(width * height);
  for (let from = 0, to = 0; to < data.length; from += 3, to += 1) {
    data[to] = (rgb[from]! * 19595 + rgb[from + 1]! * 38470 + rgb[from + 2]! * 7471 + 0x8000) >> 16;
  }
  return { width, height, channels: 1, data };
}

/** The image in red, green and blue. */
export function colored(image: Image): Image {
  if (image.channels === 3) return image;
  const { width, height } = image;
  const data = new Uint8Array(3 * image.data.length);
  for (let i = 0; i < image.data.length; i += 1) data.fill(image.data[i]!, 3 * i, 3 * i + 3);
  return { width, height, channels: 3, data };
}

/** Red, green, blue and full alpha, as canvases take them. */
export function withAlpha(image: Image): ImageData {
  const { width, height, data: rgb } = colored(image);
  const result = new ImageData(width, height);
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    result.data[to] = rgb[from]!;
    result.data[to + 1] = rgb[from + 1]!;
    result.data[to + 2] = rgb[from + 2]!;
    result.data[to + 3] = 255;
  }
  return result;
}
