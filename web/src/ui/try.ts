/** Trying the model: images and the camera in, predictions out. */

import type { Prediction } from "../decoders/prediction";
import type { Predicted } from "../messages";
import type { Opened } from "../site";
import type { Answer } from "./answers/answer";
import { answerFor } from "./answers/answer";
import { Camera, severalCameras } from "./camera";
import { announce, counted, fill, h } from "./dom";
import { icon } from "./icons";
import { chooser, type Incoming, WORKS } from "./intake";
import { Stage } from "./stage";
import { Strip } from "./strip";

/** Milliseconds between two announcements of what the camera sees. */
const SPOKEN_EVERY = 3000;
/** Milliseconds that a slider rests before what it changed is announced. */
const RESTS = 600;

export class Try {
  readonly element: HTMLElement;
  private readonly answer: Answer;
  private readonly camera = new Camera((why) => this.fail("The camera stopped", why));
  private readonly stage: Stage;
  private readonly strip = new Strip((item, index) => void this.open(item, index));
  private readonly results = new Map<Incoming, Promise<Predicted | undefined>>();
  /** What was found on the images of the strip, by their places in it. */
  private readonly found = new Map<number, Prediction>();
  /** Why images cannot be read. */
  private readonly reasons = new Map<Incoming, string>();
  private readonly cameraButton = h("button", { type: "button", class: "primary", click: () => void this.toggleCamera() });
  private readonly flipButton = h("button", { type: "button", hidden: true, click: () => void this.flip() }, icon("flip"), "Other camera");
  private readonly time = h("p", { class: "quiet time" });
  private readonly panel: HTMLElement;
  private current: Predicted | undefined;
  /** Times that the camera was started: what an earlier start still has to say is not shown. */
  private watched = 0;
  private shown: Incoming | undefined;
  /** What was last said to be found. */
  private said = "";
  private resting: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly opened: Opened) {
    this.answer = answerFor(opened.manifest, () => this.adjusted());
    this.stage = new Stage(
      h(
        "div",
        { class: "message" },
        h("h2", {}, "Show it something"),
        h("p", {}, "Drop images here, paste one, or use the buttons. They stay on this device."),
      ),
    );
    this.panel = h("section", { class: "panel", "aria-label": "Prediction", hidden: true }, this.answer.element, this.time);
    const buttons = h(
      "div",
      { class: "actions" },
      this.cameraButton,
      this.flipButton,
      chooser("Images", "images", (items) => void this.take(items)),
      chooser("Folder", "folder", (items) => void this.take(items), true),
    );
    this.element = h("div", { class: "try" }, h("div", { class: "seen" }, this.stage.element, buttons, this.strip.element), this.panel);
    this.labelCamera();
  }

  /** Opens images: shows the first and predicts them all. */
  async take(items: readonly Incoming[]): Promise<void> {
    if (items.length === 0) {
      this.fail("No images found", WORKS);
      return;
    }
    this.stopCamera();
    const first = this.strip.length;
    this.strip.add(items);
    this.strip.choose(first);
    for (const [i, item] of items.entries()) await this.result(item, first + i);
    if (items.length > 1) announce(`${counted(items.length, "image")} done.`);
  }

  /** Leaves the page to another mode. */
  pause(): void {
    this.stopCamera();
  }

  private async open(item: Incoming, index: number): Promise<void> {
    this.stopCamera();
    this.shown = item;
    const result = await this.result(item, index);
    if (this.shown !== item) return;
    if (result === undefined) {
      this.panel.hidden = true;
      this.stage.showMessage(`'${item.path}' cannot be read`, this.reasons.get(item) ?? "");
      return;
    }
    const picture = await this.opened.predictor.ask("picture", { source: item.file });
    if (this.shown !== item) return;
    this.stage.showImage(picture);
    this.show(result);
    this.said = this.answer.summary(result.prediction);
    announce(`${item.path}: ${this.said}`);
  }

  /** The prediction for an image, made once; undefined where it cannot be read. */
  private result(item: Incoming, index: number): Promise<Predicted | undefined> {
    const known = this.results.get(item) ?? this.predicted(item, index);
    this.results.set(item, known);
    return known;
  }

  private async predicted(item: Incoming, index: number): Promise<Predicted | undefined> {
    try {
      const result = await this.opened.predictor.ask("predict", { source: item.file });
      this.found.set(index, result.prediction);
      this.strip.caption(index, this.answer.summary(result.prediction));
      return result;
    } catch (error) {
      this.strip.caption(index, "cannot be read", true);
      this.reasons.set(item, messageOf(error));
      return undefined;
    }
  }

  private show(result: Predicted): void {
    this.current = result;
    this.panel.hidden = false;
    this.redraw();
    const { prepareMs, networkMs, decodeMs } = result.times;
    const total = prepareMs + networkMs + decodeMs;
    fill(this.time, `${total.toFixed(0)} ms, of which ${networkMs.toFixed(1)} ms in the network`);
  }

  private redraw(): void {
    if (this.current === undefined) return;
    this.answer.show(this.current.prediction, this.stage.overlay);
    if (this.shown !== undefined) this.stage.label(`${this.shown.path}: ${this.answer.summary(this.current.prediction)}`);
  }

  /** Shows what a slider changed, and says it, under every image too, once the slider rests. */
  private adjusted(): void {
    this.redraw();
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      this.say();
      for (const [index, prediction] of this.found) this.strip.caption(index, this.answer.summary(prediction));
    }, RESTS);
  }

  /** Says what is found on the image, unless that was said last. */
  private say(): void {
    const summary = this.current === undefined ? "" : this.answer.summary(this.current.prediction);
    if (summary !== this.said) announce(summary);
    this.said = summary;
  }

  private async toggleCamera(): Promise<void> {
    if (this.camera.running) {
      this.clear();
      this.stage.showInvitation();
      return;
    }
    await this.startCamera(() => this.camera.start());
  }

  private async flip(): Promise<void> {
    await this.startCamera(() => this.camera.flip());
  }

  private async startCamera(start: () => Promise<void>): Promise<void> {
    this.shown = undefined;
    this.strip.chooseNone();
    try {
      await start();
    } catch (error) {
      this.fail("No camera", messageOf(error));
      return;
    }
    if (!this.camera.running) return;
    this.labelCamera();
    this.flipButton.hidden = !(await severalCameras());
    this.stage.showVideo(this.camera.video);
    void this.watch((this.watched += 1));
  }

  /** Predicts frame after frame, each when the one before is done, until the camera stops. */
  private async watch(turn: number): Promise<void> {
    let spoken = performance.now();
    while (this.camera.running && this.watched === turn) {
      await new Promise(requestAnimationFrame);
      try {
        const frame = await this.camera.frame();
        if (frame === undefined) continue;
        const result = await this.opened.predictor.ask("predict", { source: frame }, [frame]);
        if (!this.camera.running || this.watched !== turn) return;
        this.show(result);
        if (performance.now() - spoken > SPOKEN_EVERY) {
          spoken = performance.now();
          this.say();
        }
      } catch (error) {
        if (this.camera.running && this.watched === turn) this.fail("The model stopped", messageOf(error));
      }
    }
  }

  /** Says what went wrong, in the place of what was there. */
  private fail(title: string, text: string): void {
    this.clear();
    this.stage.showMessage(title, text);
  }

  /** Leaves nothing of what was seen: neither camera nor image nor prediction. */
  private clear(): void {
    this.stopCamera();
    this.shown = undefined;
    this.current = undefined;
    this.strip.chooseNone();
    this.panel.hidden = true;
  }

  private stopCamera(): void {
    this.camera.stop();
    this.flipButton.hidden = true;
    this.labelCamera();
  }

  private labelCamera(): void {
    const on = this.camera.running;
    fill(this.cameraButton, icon(on ? "stop" : "camera"), on ? "Stop" : "Camera");
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
