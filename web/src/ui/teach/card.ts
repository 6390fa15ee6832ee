/** One class that is taught: its name, its images, and how more of them come in. */

import { counted, fill, h } from "../dom";
import { icon } from "../icons";
import { chooser, type Incoming } from "../intake";
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

  constructor(
    name: string,
    private readonly actions: CardActions,
  ) {
    this.input = h("input", { type: "text", value: name, "aria-label": "Name of the class", maxlength: 80, input: () => actions.changed() });
    this.recordButton = h("button", { type: "button", "aria-pressed": "false", click: () => actions.record(this) });
    const remove = h("button", { type: "button", class: "plain", title: "Remove this class", click: () => actions.remove(this) }, icon("close"));
    remove.setAttribute("aria-label", "Remove this class");
    this.element = h(
      "section",
      { class: "card", "aria-label": "Class" },
      h("div", { class: "heading" }, this.input, remove),
      h("div", { class: "actions" }, this.recordButton, chooser("Images", "images", (images) => actions.take(this, images))),
      this.preview,
      this.count,
      this.thumbnails,
    );
    this.recording(undefined);
    this.recount();
  }

  get name(): string {
    return this.input.value.trim();
  }

  add(sample: Sample): void {
    this.samples.push(sample);
    const remove = h("button", { type: "button", title: "Remove this image", click: () => this.drop(sample, item) }, sample.image(sample.name));
    const item = h("li", {}, remove);
    this.thumbnails.prepend(item);
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

  private drop(sample: Sample, item: HTMLElement): void {
    this.samples.splice(this.samples.indexOf(sample), 1);
    item.remove();
    this.recount();
  }

  private recount(): void {
    const takes = new Set(this.samples.map(({ take }) => take)).size;
    fill(this.count, counted(this.samples.length, "image"), takes < this.samples.length && takes > 0 && ` in ${counted(takes, "take")}`);
    this.actions.changed();
  }
}
