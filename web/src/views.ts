/** Mirrored views of an image, whose logits a classifier averages. As `runtime/views.py`. */

import type { Engine, Outputs, Tensor } from "./engines/engine";
import type { Head, Mirrors } from "./manifest";

type Flip = "across" | "down";

const VIEWS: Record<Mirrors, readonly (readonly Flip[])[]> = {
  none: [[]],
  horizontal: [[], ["across"]],
  vertical: [[], ["down"]],
  both: [[], ["across"], ["down"], ["down", "across"]],
};

/** The outputs for one preprocessed image, 1 C H W, averaged over the head's views. */
export async function runViews(engine: Engine, image: Tensor, head: Head): Promise<Outputs> {
  const views = VIEWS[head.head === "ClassifierHead" ? head.mirrors : "none"];
  const all: Outputs[] = [];
  for (const flips of views) all.push(await engine.run(flips.reduce(flipped, image)));
  if (all.length === 1) return all[0]!;
  return Object.fromEntries(Object.keys(all[0]!).map((name) => [name, mean(all.map((outputs) => outputs[name]!))]));
}

function flipped({ data, dims }: Tensor, flip: Flip): Tensor {
  const [, channels, height, width] = dims as [number, number, number, number];
  const result = new Float32Array(data.length);
  for (let row = 0; row < channels * height; row += 1) {
    const y = row % height;
    const from = flip === "down" ? row - y + (height - 1 - y) : row;
    const pixels = data.subarray(from * width, (from + 1) * width);
    result.set(flip === "across" ? pixels.slice().reverse() : pixels, row * width);
  }
  return { data: result, dims };
}

function mean(tensors: readonly Tensor[]): Tensor {
  const data = new Float32Array(tensors[0]!.data.length);
  for (const tensor of tensors) for (let i = 0; i < data.length; i += 1) data[i]! += tensor.data[i]!;
  return { data: data.map((sum) => sum / tensors.length), dims: tensors[0]!.dims };
}
