/** Detections: how many of each label, and the boxes on the image. */

import { thresholdsOf } from "../../decoders/detect";
import { colorsFor, css } from "../../decoders/palette";
import type { Detections } from "../../decoders/prediction";
import type { Color, Manifest, SsdHead } from "../../manifest";
import { counted, fill, h, percent } from "../dom";
import { drawBoxes } from "../overlay";
import { slider } from "../slider";

/** Where the slider starts for a model whose thresholds were not fitted: its own let nearly everything through. */
const USUAL = 0.5;

export class Boxes {
  readonly element: HTMLElement;
  private readonly colors: readonly Color[];
  private readonly heading = h("h2", { class: "verdict" });
  private readonly list = h("ul", { class: "counts" });
  private readonly threshold;
  private readonly fitted: HTMLInputElement | undefined;

  constructor(
    private readonly manifest: Manifest,
    changed: () => void,
  ) {
    this.colors = colorsFor(manifest.labels);
    const own = (manifest.head as SsdHead).class_thresholds.length > 0;
    this.threshold = slider("Show boxes above", USUAL, () => {
      if (this.fitted !== undefined) this.fitted.checked = false;
      changed();
    });
    const settle = (): void => {
      if (this.fitted?.checked === true) this.threshold.show([...thresholdsOf(manifest.head as SsdHead, manifest.labels.length)]);
    };
    const chosen = (): void => {
      settle();
      changed();
    };
    this.fitted = own ? h("input", { type: "checkbox", checked: true, change: chosen }) : undefined;
    settle();
    const check = this.fitted && h("label", { class: "check" }, this.fitted, "Use the model's own threshold of each class");
    this.element = h("div", {}, this.heading, this.list, this.threshold.element, check);
  }

  show(found: Detections, overlay: HTMLCanvasElement): void {
    const shown = this.shown(found);
    drawBoxes(overlay, found, shown, this.manifest.labels, this.colors);
    fill(this.heading, shown.length === 0 ? "Nothing found" : counted(shown.length, "object"));
    fill(this.list, ...this.counts(found, shown).map(({ label, count, most }) => this.row(label, count, most)));
  }

  summary(found: Detections): string {
    const counts = this.counts(found, this.shown(found));
    return counts.map(({ label, count }) => `${count} ${this.manifest.labels[label]}`).join(", ") || "nothing found";
  }

  /** Indices of the boxes above the thresholds: the highest scores first, as many as the model gives. */
  private shown(found: Detections): number[] {
    const head = this.manifest.head as SsdHead;
    const labels = this.manifest.labels.length;
    const limits = this.fitted?.checked === true ? thresholdsOf(head, labels) : new Float32Array(labels).fill(this.threshold.value);
    return Array.from(found.scores, (_, i) => i)
      .filter((i) => found.scores[i]! > limits[found.classes[i]!]!)
      .slice(0, head.detections);
  }

  private counts(found: Detections, shown: readonly number[]): { label: number; count: number; most: number }[] {
    const counts = new Map<number, { label: number; count: number; most: number }>();
    for (const i of shown) {
      const label = found.classes[i]!;
      const row = counts.get(label) ?? { label, count: 0, most: found.scores[i]! };
      row.count += 1;
      counts.set(label, row);
    }
    return [...counts.values()].sort((a, b) => b.count - a.count);
  }

  private row(label: number, count: number, most: number): HTMLElement {
    const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.background = css(this.colors[label]!);
    const name = h("span", { class: "name" }, this.manifest.labels[label]!);
    const best = h("span", { class: "quiet" }, count === 1 ? percent(most) : `best ${percent(most)}`);
    return h("li", {}, swatch, name, best, h("span", { class: "number" }, String(count)));
  }
}
