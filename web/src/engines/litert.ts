/** LiteRT on WebAssembly, with XNNPACK's kernels. */

import { getGlobalLiteRtPromise, loadAndCompile, loadLiteRt, Tensor as LiteRtTensor, type CompiledModel } from "@litertjs/core";
import type { Engine, Open, Outputs, Tensor } from "./engine";

export const openLiteRt: Open = async (network, folder, { threads }) => {
  const script = `${folder}litert_wasm_${threads > 1 ? "threaded_" : ""}internal.js`;
  // In a worker its script does not know its own address. What it prints is for its authors; what fails is thrown.
  const quiet = (): void => undefined;
  const module = { locateFile: (file: string) => folder + file, mainScriptUrlOrBlob: script, print: quiet, printErr: quiet };
  Object.assign(self, { Module: module });
  await (getGlobalLiteRtPromise() ?? loadLiteRt(script)); // once for a worker
  const model = await loadAndCompile(network, { accelerator: "wasm", cpuOptions: { numThreads: threads } });
  return new LiteRtEngine(model);
};

class LiteRtEngine implements Engine {
  constructor(private readonly model: CompiledModel) {}

  async run(image: Tensor): Promise<Outputs> {
    const [input] = this.model.getInputDetails();
    const { data, dims } = channelsLast(image);
    const tensor = new LiteRtTensor(data, [...dims]);
    const results = await this.model.run({ [input!.name]: tensor });
    tensor.delete();
    const outputs: Record<string, Tensor> = {};
    for (const [name, result] of Object.entries(results)) {
      const values = Float32Array.from(result.toTypedArray() as Float32Array);
      outputs[name] = channelsFirst({ data: values, dims: [...result.type.layout.dimensions] });
      result.delete();
    }
    return outputs;
  }

  async close(): Promise<void> {
    this.model.delete();
  }
}

/** 1 C H W as 1 H W C. */
function channelsLast({ data, dims }: Tensor): Tensor {
  const [n, channels, height, width] = dims as [number, number, number, number];
  const result = new Float32Array(data.length);
  const area = height * width;
  for (let c = 0; c < channels; c += 1) for (let i = 0; i < area; i += 1) result[i * channels + c] = data[c * area + i]!;
  return { data: result, dims: [n, height, width, channels] };
}

/** 1 H W C as 1 C H W; what is no map stays as it is. */
function channelsFirst(tensor: Tensor): Tensor {
  if (tensor.dims.length !== 4) return tensor;
  const [n, height, width, channels] = tensor.dims as [number, number, number, number];
  const result = new Float32Array(tensor.data.length);
  const area = height * width;
  for (let c = 0; c < channels; c += 1) for (let i = 0; i < area; i += 1) result[c * area + i] = tensor.data[i * channels + c]!;
  return { data: result, dims: [n, channels, height, width] };
}
