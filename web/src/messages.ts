/** What the page and its worker say to each other. */

import type { Placement } from "./contract/placement";
import type { Prediction } from "./decoders/prediction";
import type { Outputs, Setting, Tensor } from "./engines/engine";
import type { Manifest } from "./manifest";
import type { Lesson, Taught } from "./teach/lesson";

/** A preprocessed image. */
export interface Input {
  /** 1 C H W. */
  readonly image: Tensor;
  readonly placement: Placement;
}

/** How long the parts of a prediction took. */
export interface Times {
  readonly prepareMs: number;
  readonly networkMs: number;
  readonly decodeMs: number;
}

export interface Predicted {
  readonly prediction: Prediction;
  readonly times: Times;
  /** The classifier's pooled features, which teaching learns from; undefined where the network does not give them. */
  readonly features: Float32Array | undefined;
}

/** The methods of the worker. */
export interface Work {
  /** The bytes that the network needs besides its weights, where the runtime says it. */
  open(request: { runtime: string; network: Uint8Array; folder: string; setting: Setting; manifest: Manifest }): number | undefined;
  /** The image as the network's input is made from it: upright, transparency over white. */
  picture(request: { source: Blob }): ImageBitmap;
  prepare(request: { source: Blob | ImageBitmap }): Input;
  run(request: { image: Tensor }): Outputs;
  decode(request: { outputs: Outputs; placement: Placement }): Prediction;
  predict(request: { source: Blob | ImageBitmap }): Predicted;
  teach(request: Lesson): Taught;
}

export type Method = keyof Work;
export type Request<M extends Method = Method> = { id: number; method: M; request: Parameters<Work[M]>[0] };
export type Reply = { id: number; result: unknown } | { id: number; error: string };
