import type { Runtime } from "./engine";
import { ONNX_RUNTIME } from "./onnxruntime";

/** The runtimes, the first one being what the others are compared with. */
export const RUNTIMES: readonly Runtime[] = [ONNX_RUNTIME];

export function runtimeNamed(name: string): Runtime {
  const runtime = RUNTIMES.find((each) => each.name === name);
  if (runtime === undefined) throw new Error(`There is no runtime '${name}'.`);
  return runtime;
}
