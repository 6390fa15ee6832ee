/** A segmentation: the share of each label, and its color on the image. */

import { colorsFor, css } from "../../decoders/palette";
import type { Segmentation } from "../../decoders/prediction";
import type { Color, Manifest, SegmentationHead } from "../../manifest";
import { fill, h, percent } from "../dom";
import { drawMask } from "../overlay";
import { slider } from "../slider";

const SHOWN = 8;
const NAMED = 3;

export class Masks {
  readonly element: HTMLElement;
  private readonly colors: readonly Color[];
  private readonly heading = h("h2", { class: "verdict" });
  private readonly list = h("ul", { class: "counts" });
  private readonly opacity;

  constructor(
    private readonly manifest: Manifest,
    changed: () => void,
  ) {
    this.colors = colorsFor(manifest.labels, (manifest.head as SegmentationHead).colors);
    this.opacity = slider("Opacity of the colors", 0.6, changed);
    this.element = h("div", {}, this.heading, this.list, this.opacity.element);
  }

  show(found: Segmentation, overlay: HTMLCanvasElement): void {
    drawMask(overlay, found, this.colors, this.opacity.value);
    const present = this.present(found);
    fill(this.heading, this.manifest.labels[this.things(found)[0]!]!);
    fill(this.list, ...present.slice(0, SHOWN).map((label) => this.row(label, found.areas[label]! / found.classes.length)));
  }

  summary(found: Segmentation): string {
    const named = this.things(found).slice(0, NAMED);
    return named.map((label) => `${this.manifest.labels[label]} ${percent(found.areas[label]! / found.classes.length)}`).join(", ");
  }

  /** The labels that occur, the largest first. */
  private present(found: Segmentation): number[] {
    return found.areas
      .map((_, label) => label)
      .filter((label) => found.areas[label]! > 0)
      .sort((a, b) => found.areas[b]! - found.areas[a]! || a - b);
  }

  /** The same without the background, unless there is nothing else. */
  private things(found: Segmentation): number[] {
    const present = this.present(found);
    const things = present.filter((label) => this.colors[label]!.some((value) => value > 0));
    return things.length > 0 ? things : present;
  }

  private row(label: number, share: number): HTMLElement {
    const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.background = css(this.colors[label]!);
    const name = h("span", { class: "name" }, this.manifest.labels[label]!);
    return h("li", {}, swatch, name, h("span", { class: "number" }, percent(share, 1)));
  }
}
