/** The seam that every runtime in the browser fits. */

export interface Tensor {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

/** A network's outputs by name. */
export type Outputs = Readonly<Record<string, Tensor>>;

/** A network that runs. */
export interface Engine {
  /** The outputs for one preprocessed image, 1 C H W. */
  run(image: Tensor): Promise<Outputs>;
  close(): Promise<void>;
}

/** How an engine is to run. */
export interface Setting {
  readonly threads: number;
}

/**
 * Opens a network in a file of the kind that a runtime reads.
 *
 * @param folder the address of the runtime's own files, which ends in a slash.
 */
export type Open = (network: Uint8Array, folder: string, setting: Setting) => Promise<Engine>;

/** What each runtime is called, by the name that its files have in an export; the first is what others are compared with. */
export const TITLES: Readonly<Record<string, string>> = { onnx: "ONNX Runtime", tflite: "LiteRT" };

/** One thread, and several where the browser lets threads share memory. */
export function settingsHere(): readonly Setting[] {
  const several = Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS);
  const shared = typeof crossOriginIsolated !== "undefined" && crossOriginIsolated;
  return shared && several > 1 ? [{ threads: 1 }, { threads: several }] : [{ threads: 1 }];
}

/** More do not help a small network, and leave nothing for the page. */
const MOST_THREADS = 4;
