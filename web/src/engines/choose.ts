/** The fastest way to run the network on this device, of those that compute the same as the first. */

import { type Manifest, inputShape } from "../manifest";
import { type Candidate, Predictor } from "../predictor";
import type { Outputs, Tensor } from "./engine";

const RUNS = 5;
/** Relative to an output's largest value. */
const TOLERANCE = 1e-3;

export interface Choice {
  readonly predictor: Predictor;
  /** Milliseconds of each candidate that was measured; empty where there was no choice. */
  readonly measured: readonly { title: string; ms: number }[];
}

interface Measured {
  readonly predictor: Predictor;
  readonly outputs: Outputs;
  readonly ms: number;
}

/**
 * Opens the candidates one after another and keeps the fastest.
 *
 * @param remembered the key of the candidate that won before, on this device and with these files.
 * @throws the first candidate's error where none opens.
 */
export async function choose(candidates: readonly Candidate[], manifest: Manifest, remembered: string | null): Promise<Choice> {
  const known = candidates.find((candidate) => keyOf(candidate) === remembered);
  if (known !== undefined) {
    try {
      return { predictor: await Predictor.open(known, manifest), measured: [] };
    } catch {
      // It worked once, and does not now: look again.
    }
  }
  const [height, width] = inputShape(manifest.input);
  const image = blobs(manifest.input.channels, height, width);
  const all: Measured[] = [];
  let failure: unknown;
  for (const candidate of candidates) {
    try {
      all.push(await measured(candidate, manifest, image));
    } catch (error) {
      failure ??= error;
    }
  }
  const [first] = all;
  if (first === undefined) throw failure;
  const same = all.filter(({ outputs }) => agree(first.outputs, outputs));
  const fastest = same.reduce((best, each) => (each.ms < best.ms ? each : best));
  for (const { predictor } of all) if (predictor !== fastest.predictor) predictor.close();
  return { predictor: fastest.predictor, measured: all.map(({ predictor, ms }) => ({ title: predictor.title, ms })) };
}

export function keyOf({ runtime, setting }: Candidate): string {
  return `${runtime}/${setting.threads}`;
}

async function measured(candidate: Candidate, manifest: Manifest, image: Tensor): Promise<Measured> {
  const predictor = await Predictor.open(candidate, manifest);
  try {
    const outputs = await predictor.ask("run", { image });
    const times: number[] = [];
    for (let i = 0; i < RUNS; i += 1) {
      const start = performance.now();
      await predictor.ask("run", { image });
      times.push(performance.now() - start);
    }
    return { predictor, outputs, ms: times.sort((a, b) => a - b)[RUNS >> 1]! };
  } catch (error) {
    predictor.close();
    throw error;
  }
}

/** Whether every output is within the tolerance; what is not a number never is. */
export function agree(first: Outputs, other: Outputs): boolean {
  return Object.entries(first).every(([name, { data }]) => {
    const values = other[name]?.data;
    if (values?.length !== data.length) return false;
    const largest = data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    return data.every((value, i) => Math.abs(value - values[i]!) <= TOLERANCE * largest);
  });
}

/** A made-up image, smooth as photos are. */
function blobs(channels: number, height: number, width: number): Tensor {
  const data = new Float32Array(channels * height * width);
  for (let c = 0, i = 0; c < channels; c += 1) {
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1, i += 1) data[i] = Math.sin(x / 9 + c) * Math.cos(y / (13 + 5 * c));
    }
  }
  return { data, dims: [1, channels, height, width] };
}
