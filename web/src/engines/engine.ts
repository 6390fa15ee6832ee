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

/** A library that runs networks, with the kind of file that it reads. */
export interface Runtime {
  /** As the export names its file. */
  readonly name: string;
  /** For people. */
  readonly title: string;
  /** Settings worth measuring here. */
  settings(): readonly Setting[];
  /**
   * The network in a file, ready to run.
   *
   * @param folder the address of the runtime's own files, which ends in a slash.
   */
  open(network: Uint8Array, folder: string, setting: Setting): Promise<Engine>;
}

/** One thread, and several where the browser lets threads share memory. */
export function threadsHere(): readonly Setting[] {
  const several = Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS);
  const shared = typeof crossOriginIsolated !== "undefined" && crossOriginIsolated;
  return shared && several > 1 ? [{ threads: 1 }, { threads: several }] : [{ threads: 1 }];
}

/** More do not help a small network, and leave nothing for the page. */
const MOST_THREADS = 4;
