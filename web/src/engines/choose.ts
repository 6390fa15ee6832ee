/** The fastest way to run the network on this device, of those that compute the same. */

import { type Manifest, inputShape } from "../manifest";
import { type Candidate, Predictor } from "../predictor";
import type { Outputs, Tensor } from "./engine";

const RUNS = 5;

/** What others are compared with. */
interface Reference {
  readonly runtime: string;
  /** Relative to an output's largest value. */
  readonly tolerance: number;
}

/**
 * By precision. ONNX Runtime reads the very file that was exported and checked. In integers it rounds in its own way, and ours as the
 * specification says; others may be two steps off.
 */
const REFERENCES: Readonly<Record<string, Reference>> = {
  float32: { runtime: "onnx", tolerance: 1e-3 },
  int8: { runtime: "native", tolerance: 2 / 127 },
};

export interface Time {
  readonly title: string;
  readonly ms: number;
}

export interface Choice {
  readonly predictor: Predictor;
  /**
   * Measures what else there is, lets the predictor go on with the fastest, and gives the milliseconds of each. Undefined where there is
   * nothing to measure: the choice was made before, or there is none.
   */
  readonly settle: (() => Promise<readonly Time[]>) | undefined;
}

interface Measured {
  readonly predictor: Predictor;
  readonly outputs: Outputs;
  readonly ms: number;
}

/**
 * Opens the first candidate that runs here, or the one that won before.
 *
 * @param candidates those that load fast stand first.
 * @param remembered the key of the candidate that won before, on this device and with these files.
 * @throws the first candidate's error where none opens.
 */
export async function choose(candidates: readonly Candidate[], manifest: Manifest, remembered: string | null): Promise<Choice> {
  const known = candidates.find((candidate) => keyOf(candidate) === remembered);
  if (known !== undefined) {
    try {
      return { predictor: await Predictor.open(known, manifest), settle: undefined };
    } catch {
      // It worked once, and does not now: look again.
    }
  }
  const [height, width] = inputShape(manifest.input);
  const image = blobs(manifest.input.channels, height, width);
  let failure: unknown;
  for (const [i, candidate] of candidates.entries()) {
    try {
      const first = await measured(candidate, manifest, image);
      const others = candidates.slice(i + 1);
      const settle = others.length > 0 ? () => settled(first, others, manifest, image) : undefined;
      return { predictor: first.predictor, settle };
    } catch (error) {
      failure ??= error;
    }
  }
  throw failure;
}

export function keyOf({ runtime, setting }: Candidate): string {
  return `${runtime}/${setting.threads}`;
}

async function settled(first: Measured, others: readonly Candidate[], manifest: Manifest, image: Tensor): Promise<readonly Time[]> {
  const all = [first];
  for (const candidate of others) {
    try {
      all.push(await measured(candidate, manifest, image));
    } catch {
      // It does not run here.
    }
  }
  const times = all.map(({ predictor, ms }) => ({ title: predictor.title, ms }));
  const { runtime, tolerance } = REFERENCES[manifest.precision] ?? REFERENCES["float32"]!;
  const reference = all.find(({ predictor }) => predictor.candidate.runtime === runtime) ?? first;
  const same = all.filter(({ outputs }) => agree(reference.outputs, outputs, tolerance));
  const fastest = same.reduce((best, each) => (each.ms < best.ms ? each : best));
  for (const each of all) if (each !== fastest && each !== first) each.predictor.close();
  if (fastest !== first) first.predictor.become(fastest.predictor);
  return times;
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
export function agree(first: Outputs, other: Outputs, tolerance: number): boolean {
  return Object.entries(first).every(([name, { data }]) => {
    const values = other[name]?.data;
    if (values?.length !== data.length) return false;
    const largest = data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    return data.every((value, i) => Math.abs(value - values[i]!) <= tolerance * largest);
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
