/** One class that is taught: its name, its images, and how more of them come in. */

import { counted, fill, h } from "../dom";
import { icon } from "../icons";
import { chooser, type Incoming } from "../intake";
import { keepStop, rove } from "../roving";
import type { Sample } from "./sample";

export interface CardActions {
  /** Takes images into this class. */
  take(card: Card, images: Incoming[]): void;
  /** Begins to record this class with the camera, or ends it. */
  record(card: Card): void;
  remove(card: Card): void;
  /** The class has another name or other images. */
  changed(): void;
}

export class Card {
  readonly element: HTMLElement;
  readonly samples: Sample[] = [];
  private readonly input: HTMLInputElement;
  private readonly thumbnails = h("ul", { class: "thumbnails" });
  private readonly preview = h("div", { class: "preview", hidden: true });
  private readonly count = h("span", { class: "quiet" });
  private readonly recordButton: HTMLButtonElement;
  private readonly removeButton: HTMLButtonElement;

  constructor(
    name: string,
    private readonly actions: CardActions,
  ) {
    this.input = h("input", { type: "text", value: name, "aria-label": "Name of the class", maxlength: 80, input: () => this.renamed() });
    this.recordButton = h("button", { type: "button", "aria-pressed": "false", click: () => actions.record(this) });
    this.removeButton = h("button", { type: "button", class: "plain", click: () => actions.remove(this) }, icon("close"));
    this.element = h(
      "section",
      { class: "card", role: "group" },
      h("div", { class: "heading" }, this.input, this.removeButton),
      h("div", { class: "actions" }, this.recordButton, chooser("Images", "images", (images) => actions.take(this, images))),
      this.preview,
      this.count,
      this.thumbnails,
    );
    rove(this.thumbnails);
    this.recording(undefined);
    this.recount();
    this.renamed();
  }

  get name(): string {
    return this.input.value.trim();
  }

  /** Puts the keyboard into its name. */
  focus(): void {
    this.input.focus();
  }

  add(sample: Sample): void {
    this.samples.push(sample);
    const about = { title: "Remove this image", "aria-label": `Remove ${sample.name}` };
    const remove = h("button", { type: "button", ...about, click: () => this.drop(sample, item) }, sample.image(""));
    const item = h("li", { role: "none" }, remove);
    this.thumbnails.prepend(item);
    keepStop(this.thumbnails);
    this.recount();
  }

  /** Shows what is being recorded, or nothing. */
  recording(video: HTMLVideoElement | undefined): void {
    const on = video !== undefined;
    fill(this.preview, video);
    this.preview.hidden = !on;
    this.recordButton.setAttribute("aria-pressed", String(on));
    this.recordButton.classList.toggle("primary", on);
    fill(this.recordButton, icon(on ? "stop" : "camera"), on ? "Stop" : "Record");
  }

  /** Removes an image, and puts the keyboard on the one beside it. */
  private drop(sample: Sample, item: HTMLElement): void {
    const beside = (item.nextElementSibling ?? item.previousElementSibling)?.querySelector("button");
    this.samples.splice(this.samples.indexOf(sample), 1);
    item.remove();
    (beside ?? this.recordButton).focus();
    this.recount();
  }

  private renamed(): void {
    const name = this.name || "this class";
    this.element.setAttribute("aria-label", name);
    this.thumbnails.setAttribute("aria-label", `Images of ${name}`);
    for (const about of ["title", "aria-label"]) this.removeButton.setAttribute(about, `Remove ${name}`);
    this.actions.changed();
  }

  private recount(): void {
    const takes = new Set(this.samples.map(({ take }) => take)).size;
    fill(this.count, counted(this.samples.length, "image"), takes < this.samples.length && takes > 0 && ` in ${counted(takes, "take")}`);
    this.actions.changed();
  }
}
