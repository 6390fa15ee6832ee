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
  /** Bytes of the values of one image and of what operators need besides, where the runtime says it. */
  readonly peakBytes?: number;
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

/** What is known of a runtime before its files are loaded. */
export interface Runtime {
  readonly title: string;
  /** Whether it can divide the work among threads. */
  readonly threads: boolean;
}

/** By the name that a runtime's files have in an export. */
export const RUNTIMES: Readonly<Record<string, Runtime>> = {
  native: { title: "our own engine", threads: false },
  onnx: { title: "ONNX Runtime", threads: true },
  tflite: { title: "LiteRT", threads: true },
};

/** One thread, and several where the runtime has them and the browser lets threads share memory. */
export function settingsHere({ threads }: Runtime): readonly Setting[] {
  const several = Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS);
  const shared = typeof crossOriginIsolated !== "undefined" && crossOriginIsolated;
  return threads && shared && several > 1 ? [{ threads: 1 }, { threads: several }] : [{ threads: 1 }];
}

/** More do not help a small network, and leave nothing for the page. */
const MOST_THREADS = 4;
