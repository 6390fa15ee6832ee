/** How a prediction is shown beside its image and on it, by task. */

import type { Prediction } from "../../decoders/prediction";
import { type Manifest, type Task, taskOf } from "../../manifest";
import { Bars } from "./bars";
import { Boxes } from "./boxes";
import { Masks } from "./masks";

export interface Answer {
  /** The panel beside the image. */
  readonly element: HTMLElement;
  /** Shows a prediction, in the panel and on the canvas over the image. */
  show(prediction: Prediction, overlay: HTMLCanvasElement): void;
  /** What was found, in one line. */
  summary(prediction: Prediction): string;
}

/** @param changed is called when the user moves a slider, and the prediction is to be shown again. */
type Make = (manifest: Manifest, changed: () => void) => Answer;

const ANSWERS: Record<Task, Make> = {
  classify: (manifest, changed) => new Bars(manifest, changed),
  detect: (manifest, changed) => new Boxes(manifest, changed),
  segment: (manifest, changed) => new Masks(manifest, changed),
};

export function answerFor(manifest: Manifest, changed: () => void): Answer {
  return ANSWERS[taskOf(manifest)](manifest, changed);
}
