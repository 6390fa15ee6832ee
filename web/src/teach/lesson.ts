/** Teaching: a head for every image that is there, and an accuracy that no image was trained for. */

import { softmax } from "../decoders/classify";
import { type Examples, fitted, logitsOf } from "./linear";
import type { Linear } from "./onnx";

/** Images that were not taken one by one, such as the frames of one recording, belong to one take. */
export interface Lesson extends Examples {
  /** The take of each image; no take has images of two classes. */
  readonly takes: readonly number[];
}

export interface Taught {
  /** Trained on all images. */
  readonly head: Linear;
  /** Divides the logits before softmax, so that scores are what they say on images that were held out. */
  readonly temperature: number;
  /** What a head that had not seen the image, nor any other of its take, said of it; undefined where none could be held out. */
  readonly heldOut: readonly number[] | undefined;
}

const MOST_FOLDS = 5;

export function taught(lesson: Lesson): Taught {
  const head = fitted(lesson);
  const folds = foldsOf(lesson);
  if (folds === undefined) return { head, temperature: 1, heldOut: undefined };
  const logits: Float32Array[] = new Array<Float32Array>(lesson.features.length);
  for (let fold = 0; fold < Math.max(...folds) + 1; fold += 1) {
    const inside = folds.flatMap((own, i) => (own === fold ? [] : [i]));
    const without = fitted({
      features: inside.map((i) => lesson.features[i]!),
      classes: inside.map((i) => lesson.classes[i]!),
      count: lesson.count,
    });
    folds.forEach((own, i) => {
      if (own === fold) logits[i] = logitsOf(without, lesson.features[i]!);
    });
  }
  const heldOut = logits.map((row) => row.indexOf(Math.max(...row)));
  return { head, temperature: temperatureOf(logits, lesson.classes), heldOut };
}

/**
 * The fold of each image: takes stay together, and every class is in every fold as evenly as its takes allow. Undefined where a
 * class has a single take, which cannot be both learned from and held out.
 */
export function foldsOf({ classes, takes, count }: Lesson): number[] | undefined {
  const sizes = Array.from({ length: count }, () => new Map<number, number>());
  takes.forEach((take, i) => {
    const own = sizes[classes[i]!]!;
    own.set(take, (own.get(take) ?? 0) + 1);
  });
  const folds = Math.min(MOST_FOLDS, ...sizes.map(({ size }) => size));
  if (folds < 2) return undefined;
  const foldOf = new Map<number, number>();
  for (const own of sizes) {
    const filled = new Array<number>(folds).fill(0);
    for (const [take, size] of [...own].sort((a, b) => b[1] - a[1] || a[0] - b[0])) {
      const fold = filled.indexOf(Math.min(...filled));
      filled[fold]! += size;
      foldOf.set(take, fold);
    }
  }
  return takes.map((take) => foldOf.get(take)!);
}

/** The temperature at which the logits are the most likely, 0.05 to 20, by golden section on its logarithm. */
export function temperatureOf(logits: readonly Float32Array[], classes: readonly number[]): number {
  const loss = (power: number): number => {
    const losses = logits.map((row, i) => -Math.log(Math.max(softmax(row, Math.exp(power))[classes[i]!]!, 1e-12)));
    return losses.reduce((sum, each) => sum + each, 0);
  };
  const share = (Math.sqrt(5) - 1) / 2;
  let [low, high] = [-3, 3];
  for (let i = 0; i < 30; i += 1) {
    const left = high - share * (high - low);
    const right = low + share * (high - low);
    if (loss(left) <= loss(right)) high = right;
    else low = left;
  }
  return Math.exp((low + high) / 2);
}

/** How many images of each class (row) were taken for each class (column). */
export function confusionOf(classes: readonly number[], heldOut: readonly number[], count: number): number[][][] {
  const cells: number[][][] = Array.from({ length: count }, () => Array.from({ length: count }, () => []));
  classes.forEach((own, i) => cells[own]![heldOut[i]!]!.push(i));
  return cells;
}

/** Wilson's 95 % interval for a share. */
export function intervalOf(right: number, total: number): [number, number] {
  const z = 1.959964;
  const share = right / total;
  const center = share + z ** 2 / (2 * total);
  const reach = z * Math.sqrt((share * (1 - share)) / total + z ** 2 / (4 * total ** 2));
  const below = 1 + z ** 2 / total;
  return [Math.max(0, (center - reach) / below), Math.min(1, (center + reach) / below)];
}
