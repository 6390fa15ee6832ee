/** What a network says of one image. */

export interface Classification {
  readonly task: "classify";
  readonly width: number;
  readonly height: number;
  /** Of each label, 0 to 1. */
  readonly scores: Float32Array;
  /** Before softmax, of each label. */
  readonly logits: Float32Array;
}

export interface Detections {
  readonly task: "detect";
  readonly width: number;
  readonly height: number;
  /** x0 y0 x1 y1 in px of the upright image, four a box, the highest score first. */
  readonly boxes: Float32Array;
  readonly scores: Float32Array;
  readonly classes: Int32Array;
}

export interface Segmentation {
  readonly task: "segment";
  readonly width: number;
  readonly height: number;
  /** The index of each pixel's label, row by row. */
  readonly classes: Uint8Array;
  /** Pixels of each label. */
  readonly areas: readonly number[];
}

export type Prediction = Classification | Detections | Segmentation;
