/** The images that were opened, as a row of thumbnails; the one that is chosen is on the stage. Arrow keys go through them. */

import { fill, h } from "./dom";
import type { Incoming } from "./intake";
import { keepStop, rove } from "./roving";

export class Strip {
  readonly element = h("ol", { class: "strip", "aria-label": "Opened images", hidden: true });
  private readonly buttons: HTMLButtonElement[] = [];
  private readonly items: Incoming[] = [];

  constructor(private readonly chosen: (item: Incoming, index: number) => void) {
    rove(this.element, (button) => button.click());
  }

  get length(): number {
    return this.items.length;
  }

  add(items: readonly Incoming[]): void {
    for (const item of items) {
      const index = this.items.push(item) - 1;
      const url = URL.createObjectURL(item.file);
      const image = h("img", { src: url, alt: "", loading: "lazy", decoding: "async", load: () => URL.revokeObjectURL(url), error: () => image.removeAttribute("src") });
      const button = h(
        "button",
        { type: "button", title: item.path, "aria-label": item.path, click: () => this.choose(index) },
        image,
        h("span", { class: "caption" }, "…"),
      );
      this.buttons.push(button);
      this.element.append(h("li", { role: "none" }, button));
    }
    keepStop(this.element);
    this.element.hidden = this.items.length < 2;
  }

  choose(index: number): void {
    const item = this.items[index];
    if (item === undefined) return;
    this.buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === index)));
    this.buttons[index]!.scrollIntoView({ block: "nearest", inline: "nearest" });
    this.chosen(item, index);
  }

  /** Marks none: something else is on the stage. */
  chooseNone(): void {
    for (const button of this.buttons) button.setAttribute("aria-pressed", "false");
  }

  /** Says under an image what was found on it. */
  caption(index: number, text: string, failed = false): void {
    const button = this.buttons[index];
    if (button === undefined) return;
    const caption = button.querySelector(".caption")!;
    fill(caption, text);
    caption.classList.toggle("bad", failed);
    button.setAttribute("aria-label", `${this.items[index]!.path}: ${text}`);
  }
}
