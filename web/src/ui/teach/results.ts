/** What was taught: how good it is on images that were held out, which it mistakes for which, and where to take it. */

import { confusionOf, intervalOf, type Taught } from "../../teach/lesson";
import { counted, fill, h, percent } from "../dom";
import { icon } from "../icons";
import type { Sample } from "./sample";

export interface ResultsActions {
  tryIt(): void;
  download(): void;
}

/** @param classes of each sample, by index into the labels. */
export function results(
  { heldOut }: Taught,
  samples: readonly Sample[],
  classes: readonly number[],
  labels: readonly string[],
  actions: ResultsActions,
): HTMLElement {
  return h(
    "div",
    { class: "results" },
    ...(heldOut === undefined ? unmeasured(samples, classes, labels) : measured(heldOut, samples, classes, labels)),
    h(
      "div",
      { class: "actions" },
      h("button", { type: "button", class: "primary", click: () => actions.tryIt() }, "Try it"),
      h("button", { type: "button", click: () => actions.download() }, icon("download"), "Download"),
    ),
    h("p", { class: "quiet" }, "The file is an ONNX model of its own: ", h("code", {}, "mobilenets predict taught.onnx image.jpg")),
  );
}

function unmeasured(samples: readonly Sample[], classes: readonly number[], labels: readonly string[]): HTMLElement[] {
  const single = labels.filter((_, k) => new Set(samples.filter((__, i) => classes[i] === k).map(({ take }) => take)).size < 2);
  const names = single.map((label) => `'${label}'`).join(", ");
  return [
    h("h2", { class: "verdict" }, "Taught, not measured"),
    h("p", {}, `All images of ${names} come from one take. Frames of one recording are nearly the same image, so none can be held out. Record another take.`),
  ];
}

function measured(
  heldOut: readonly number[],
  samples: readonly Sample[],
  classes: readonly number[],
  labels: readonly string[],
): HTMLElement[] {
  const right = heldOut.filter((label, i) => label === classes[i]).length;
  const [low, high] = intervalOf(right, heldOut.length);
  const opened = h("div", { class: "opened", "aria-live": "polite" });
  return [
    h("h2", { class: "verdict" }, `${percent(right / heldOut.length)} right`),
    h(
      "p",
      {},
      `${right} of ${counted(heldOut.length, "image")}, each judged by a head that had not seen it or its take. ` +
        `Between ${percent(low)} and ${percent(high)} of such images, with 95% confidence.`,
    ),
    matrix(confusionOf(classes, heldOut, labels.length), labels, (own, taken, members) => show(opened, own, taken, members, samples)),
    opened,
  ];
}

type Open = (own: string, taken: string, members: readonly number[]) => void;

function matrix(cells: readonly (readonly (readonly number[])[])[], labels: readonly string[], open: Open): HTMLElement {
  const heads = labels.map((label) => h("th", { scope: "col" }, h("span", {}, label)));
  const rows = cells.map((row, own) => {
    const total = row.reduce((sum, members) => sum + members.length, 0);
    return h("tr", {}, h("th", { scope: "row" }, labels[own]!), ...row.map((members, taken) => cell(members, total, own, taken, labels, open)));
  });
  return h(
    "div",
    { class: "scroll" },
    h(
      "table",
      { class: "matrix" },
      h("caption", {}, "Rows are what an image is, columns what it was taken for. Open a cell to see its images."),
      h("thead", {}, h("tr", {}, h("td", {}), ...heads)),
      h("tbody", {}, ...rows),
    ),
  );
}

function cell(
  members: readonly number[],
  total: number,
  own: number,
  taken: number,
  labels: readonly string[],
  open: Open,
): HTMLElement {
  if (members.length === 0) return h("td", { class: "none" }, "0");
  const text = `${counted(members.length, "image")} of ${labels[own]} taken for ${labels[taken]}`;
  const button = h("button", { type: "button", "aria-label": text, click: () => open(labels[own]!, labels[taken]!, members) }, String(members.length));
  const box = h("td", { class: own === taken ? "right" : "wrong" }, button);
  box.style.setProperty("--share", (members.length / total).toFixed(3));
  return box;
}

function show(place: HTMLElement, own: string, taken: string, members: readonly number[], samples: readonly Sample[]): void {
  const title = own === taken ? `${own}, recognized` : `${own}, taken for ${taken}`;
  fill(
    place,
    h("h3", {}, title),
    h("ul", { class: "thumbnails", tabindex: 0, "aria-label": title }, ...members.map((i) => h("li", {}, samples[i]!.image(`${title}: ${samples[i]!.name}`)))),
  );
}
