/** Where the pixels of one side of an image lie between the places of one side of a map. As `runtime/segment/upsample.py`. */
export interface Axis {
  /** The place before each pixel, rising. */
  readonly low: Int32Array;
  /** The place after it; behind the last place the last. */
  readonly high: Int32Array;
  /** The share of the place after it, 0 to 1. */
  readonly share: Float32Array;
}

/** The input that a map stands for, and where it lies on the image. */
export interface Reach {
  /** Of the network's input, px. */
  readonly size: number;
  /** px of the image per px of the input. */
  readonly scale?: number;
  /** Of the input on the image, px. */
  readonly start?: number;
  readonly alignCorners?: boolean;
}

export function axis(pixels: number, places: number, { size, scale = 1, start = 0, alignCorners = false }: Reach): Axis {
  const low = new Int32Array(pixels);
  const high = new Int32Array(pixels);
  const share = new Float32Array(pixels);
  for (let i = 0; i < pixels; i += 1) {
    const edge = (i + 0.5 - start) / scale;
    const free = alignCorners ? (edge - 0.5) * ((places - 1) / Math.max(size - 1, 1)) : edge * (places / size) - 0.5;
    const at = Math.min(places - 1, Math.max(0, free));
    low[i] = Math.min(Math.floor(at), Math.max(places - 2, 0));
    high[i] = Math.min(low[i]! + 1, places - 1);
    share[i] = at - low[i]!;
  }
  return { low, high, share };
}
