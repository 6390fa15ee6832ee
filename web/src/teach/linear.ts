/** A linear classifier on features: multinomial logistic regression, trained to its only optimum. */

import type { Linear } from "./onnx";

/** Features of images, row by row, and the class of each. */
export interface Examples {
  readonly features: readonly Float32Array[];
  readonly classes: readonly number[];
  /** How many classes there are. */
  readonly count: number;
}

/** Times the squared weights on standardized features, against the mean loss of an image. */
const DECAY = 0.3;
const MOST_STEPS = 200;
const MEMORY = 8;
/** Largest gradient at which the optimum counts as found. */
const ENOUGH = 1e-4;

/** The layer whose softmax fits the examples best, with a penalty on large weights. */
export function fitted(examples: Examples): Linear {
  const scale = standardOf(examples.features);
  const rows = examples.features.map((row) => standardized(row, scale));
  const weight = minimized(examples.count * (scale.mean.length + 1), (point, gradient) => lossOf(point, gradient, rows, examples));
  return unstandardized(weight, examples.count, scale);
}

/** The logits of one image. */
export function logitsOf({ weight, bias }: Linear, features: Float32Array): Float32Array {
  return Float32Array.from(bias, (start, k) => {
    let sum = start;
    for (let i = 0; i < features.length; i += 1) sum += weight[k * features.length + i]! * features[i]!;
    return sum;
  });
}

interface Standard {
  readonly mean: Float64Array;
  readonly deviation: Float64Array;
}

function standardOf(rows: readonly Float32Array[]): Standard {
  const length = rows[0]!.length;
  const mean = new Float64Array(length);
  const deviation = new Float64Array(length);
  for (const row of rows) for (let i = 0; i < length; i += 1) mean[i]! += row[i]! / rows.length;
  for (const row of rows) for (let i = 0; i < length; i += 1) deviation[i]! += (row[i]! - mean[i]!) ** 2 / rows.length;
  const largest = Math.sqrt(deviation.reduce((most, value) => Math.max(most, value), 0));
  // A feature that hardly changes is not blown up.
  return { mean, deviation: deviation.map((variance) => Math.max(Math.sqrt(variance), 1e-3 * largest, 1e-12)) };
}

function standardized(row: Float32Array, { mean, deviation }: Standard): Float64Array {
  return Float64Array.from(row, (value, i) => (value - mean[i]!) / deviation[i]!);
}

/** The mean cross entropy plus the penalty; the gradient is written into its array. Biases stand behind all weights. */
function lossOf(point: Float64Array, gradient: Float64Array, rows: readonly Float64Array[], { classes, count }: Examples): number {
  const length = rows[0]!.length;
  const weights = count * length;
  let loss = 0;
  gradient.fill(0);
  const scores = new Float64Array(count);
  rows.forEach((row, n) => {
    let highest = -Infinity;
    for (let k = 0; k < count; k += 1) {
      let sum = point[weights + k]!;
      for (let i = 0, at = k * length; i < length; i += 1, at += 1) sum += point[at]! * row[i]!;
      scores[k] = sum;
      highest = Math.max(highest, sum);
    }
    let total = 0;
    for (let k = 0; k < count; k += 1) total += Math.exp(scores[k]! - highest);
    loss += (highest + Math.log(total) - scores[classes[n]!]!) / rows.length;
    for (let k = 0; k < count; k += 1) {
      const error = (Math.exp(scores[k]! - highest) / total - (k === classes[n] ? 1 : 0)) / rows.length;
      gradient[weights + k]! += error;
      for (let i = 0, at = k * length; i < length; i += 1, at += 1) gradient[at]! += error * row[i]!;
    }
  });
  for (let at = 0; at < weights; at += 1) {
    loss += (DECAY / 2) * point[at]! ** 2;
    gradient[at]! += DECAY * point[at]!;
  }
  return loss;
}

function unstandardized(point: Float64Array, count: number, { mean, deviation }: Standard): Linear {
  const length = mean.length;
  const weight = new Float32Array(count * length);
  const bias = new Float32Array(count);
  for (let k = 0; k < count; k += 1) {
    let shift = point[count * length + k]!;
    for (let i = 0; i < length; i += 1) {
      const value = point[k * length + i]! / deviation[i]!;
      weight[k * length + i] = value;
      shift -= value * mean[i]!;
    }
    bias[k] = shift;
  }
  return { weight, bias };
}

type Loss = (point: Float64Array, gradient: Float64Array) => number;

/** Where a smooth function is smallest, by L-BFGS from the origin (Nocedal and Wright, algorithm 7.5). */
export function minimized(length: number, loss: Loss): Float64Array {
  let point = new Float64Array(length);
  let gradient = new Float64Array(length);
  let value = loss(point, gradient);
  const steps: { change: Float64Array; turn: Float64Array; along: number }[] = [];
  for (let i = 0; i < MOST_STEPS && largest(gradient) > ENOUGH; i += 1) {
    const direction = descent(gradient, steps);
    const slope = dot(direction, gradient);
    let length = steps.length === 0 ? Math.min(1, 1 / largest(gradient)) : 1;
    let next = moved(point, direction, length);
    let nextGradient = new Float64Array(point.length);
    let nextValue = loss(next, nextGradient);
    while (nextValue > value + 1e-4 * length * slope && length > 1e-10) {
      length /= 2;
      next = moved(point, direction, length);
      nextValue = loss(next, nextGradient);
    }
    const change = next.map((each, k) => each - point[k]!);
    const turn = nextGradient.map((each, k) => each - gradient[k]!);
    const along = dot(change, turn);
    if (along > 1e-12) steps.push({ change, turn, along });
    if (steps.length > MEMORY) steps.shift();
    [point, gradient, value] = [next, nextGradient, nextValue];
  }
  return point;
}

/** The direction of quasi-Newton descent: the gradient turned by what the last steps say of the curvature. */
function descent(gradient: Float64Array, steps: readonly { change: Float64Array; turn: Float64Array; along: number }[]): Float64Array {
  let direction = gradient.map((value) => -value);
  const shares: number[] = [];
  for (const { change, turn, along } of [...steps].reverse()) {
    const share = dot(change, direction) / along;
    shares.push(share);
    direction = moved(direction, turn, -share);
  }
  const last = steps.at(-1);
  if (last !== undefined) {
    const factor = last.along / dot(last.turn, last.turn);
    direction = direction.map((value) => factor * value);
  }
  for (const { change, turn, along } of steps) {
    direction = moved(direction, change, shares.pop()! - dot(turn, direction) / along);
  }
  return direction;
}

function moved(point: Float64Array, direction: Float64Array, length: number): Float64Array<ArrayBuffer> {
  return Float64Array.from(point, (value, i) => value + length * direction[i]!);
}

function dot(first: Float64Array, second: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < first.length; i += 1) sum += first[i]! * second[i]!;
  return sum;
}

function largest(values: Float64Array): number {
  return values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}
