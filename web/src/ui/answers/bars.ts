/** A classification: the best label, and a bar for each of the best five. */

import { best } from "../../decoders/classify";
import type { Classification } from "../../decoders/prediction";
import type { Manifest } from "../../manifest";
import { fill, h, percent } from "../dom";
import { shaped } from "../overlay";
import { slider } from "../slider";

const SHOWN = 5;

export class Bars {
  readonly element: HTMLElement;
  private readonly heading = h("h2", { class: "verdict" });
  private readonly list = h("ol", { class: "bars" });
  private readonly least;

  constructor(
    private readonly manifest: Manifest,
    changed: () => void,
  ) {
    this.least = slider("Unsure below", 0.5, changed);
    this.element = h("div", {}, this.heading, this.list, this.least.element);
  }

  show(found: Classification, overlay: HTMLCanvasElement): void {
    shaped(overlay, found.width, found.height);
    const top = best(found.scores, SHOWN);
    const unsure = found.scores[top[0]!]! < this.least.value;
    this.element.classList.toggle("unsure", unsure);
    fill(this.heading, unsure ? "Not sure" : this.manifest.labels[top[0]!]!);
    fill(this.list, ...top.map((i) => bar(this.manifest.labels[i]!, found.scores[i]!)));
  }

  summary(found: Classification): string {
    const [first] = best(found.scores, 1);
    const score = found.scores[first!]!;
    const label = `${this.manifest.labels[first!]!} ${percent(score)}`;
    return score < this.least.value ? `perhaps ${label}` : label;
  }
}

/** A label with its score as a number and as a bar. */
export function bar(label: string, score: number): HTMLElement {
  const line = h("div", { class: "bar", "aria-hidden": "true" });
  line.style.setProperty("--share", score.toFixed(4));
  return h("li", {}, h("span", { class: "name" }, label), h("span", { class: "number" }, percent(score, 1)), line);
}
