/** What a network says of itself: labels, head and input contract. The Python package writes it (`runtime/manifest.py`). */

export type ResizeRule = "crop_then_stretch" | "shorter_side_then_crop" | "stretch" | "letterbox" | "sample";
export type Interpolation = "nearest" | "bilinear" | "bicubic" | "lanczos";
export type Mirrors = "none" | "horizontal" | "vertical" | "both";
export type Color = readonly [number, number, number];

export interface InputContract {
  readonly size: number;
  readonly channels: number;
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly resize: ResizeRule;
  readonly crop: number;
  readonly interpolation: Interpolation;
  /** Width of an input that is not square, px; 0 for a square. */
  readonly wide: number;
}

export interface ClassifierHead {
  readonly head: "ClassifierHead";
  readonly temperature: number;
  readonly mirrors: Mirrors;
}

export interface SsdHead {
  readonly head: "SsdHead";
  readonly strides: readonly number[];
  /** Of every map, the scale and ratio of the anchors at each place. */
  readonly anchors: readonly (readonly (readonly [number, number])[])[];
  readonly clip: boolean;
  readonly variances: readonly [number, number, number, number];
  readonly activation: "softmax" | "sigmoid";
  readonly score_threshold: number;
  readonly class_thresholds: readonly number[];
  readonly iou: number;
  readonly detections: number;
  readonly candidates: number;
}

export interface SegmentationHead {
  readonly head: "DeepLabHead" | "LrasppHead";
  readonly align_corners: boolean;
  readonly colors: readonly Color[];
}

export type Head = ClassifierHead | SsdHead | SegmentationHead;

export interface Manifest {
  readonly format: number;
  readonly model: string;
  readonly labels: readonly string[];
  readonly input: InputContract;
  readonly head: Head;
  readonly precision: string;
}

/** One file with the network, and the runtime that it is for. */
export interface NetworkFile {
  readonly runtime: string;
  readonly file: string;
  /** A file whose bytes belong behind those of this one; it has the weights. */
  readonly weights?: string;
  readonly size_bytes: number;
  readonly sha256: string;
}

/** `model/model.json`: what `mobilenets export --to web` writes beside the page. */
export interface Site {
  readonly format: 1;
  readonly manifest: Manifest;
  readonly networks: readonly NetworkFile[];
}

export type Task = "classify" | "detect" | "segment";

const TASKS: Record<Head["head"], Task> = {
  ClassifierHead: "classify",
  SsdHead: "detect",
  DeepLabHead: "segment",
  LrasppHead: "segment",
};

export function taskOf(manifest: Manifest): Task {
  return TASKS[manifest.head.head];
}

/** Height and width of the network's input, px. */
export function inputShape(contract: InputContract): [number, number] {
  return [contract.size, contract.wide || contract.size];
}
