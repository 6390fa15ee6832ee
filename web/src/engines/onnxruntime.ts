/** ONNX Runtime on WebAssembly. */

import type * as Ort from "onnxruntime-web";
import type { Engine, Open, Outputs, Tensor } from "./engine";

export const openOnnxRuntime: Open = async (network, folder, { threads }) => {
  const ort = (await import(/* @vite-ignore */ `${folder}ort.wasm.min.mjs`)) as typeof Ort;
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = folder;
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(network, { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
  return new OnnxRuntimeEngine(ort, session);
};

class OnnxRuntimeEngine implements Engine {
  constructor(
    private readonly ort: typeof Ort,
    private readonly session: Ort.InferenceSession,
  ) {}

  async run(image: Tensor): Promise<Outputs> {
    const input = new this.ort.Tensor("float32", image.data, image.dims);
    const results = await this.session.run({ [this.session.inputNames[0]!]: input });
    const outputs: Record<string, Tensor> = {};
    for (const name of this.session.outputNames) {
      const { data, dims } = results[name]!;
      outputs[name] = { data: data as Float32Array, dims };
    }
    return outputs;
  }

  async close(): Promise<void> {
    await this.session.release();
  }
}
