import type { Open } from "./engine";
import { openLiteRt } from "./litert";
import { openNative } from "./native";
import { openOnnxRuntime } from "./onnxruntime";

/** How each runtime opens a network, by the name that its files have in an export. */
export const OPENERS: Readonly<Record<string, Open>> = { native: openNative, onnx: openOnnxRuntime, tflite: openLiteRt };
