/** Teaching the model new classes: images come in, a head is trained in the page, and leaves as a file or to be tried. */

import type { ClassifierHead, Manifest } from "../../manifest";
import { type Candidate, Predictor } from "../../predictor";
import type { Opened } from "../../site";
import type { Taught } from "../../teach/lesson";
import { withFeatures, withHead } from "../../teach/onnx";
import { Camera } from "../camera";
import { announce, counted, fill, h } from "../dom";
import { icon } from "../icons";
import { chooser, folderOf, type Incoming, WORKS } from "../intake";
import { messageOf } from "../try";
import { Card } from "./card";
import { results } from "./results";
import { Sample } from "./sample";

/** Milliseconds between two frames of a recording. */
const FRAME_EVERY = 120;
/** Frames of one recording; more of the same teach nothing. */
const MOST_FRAMES = 60;
const FILE = "taught.onnx";

export class Teach {
  readonly element: HTMLElement;
  private readonly cards: Card[] = [];
  private readonly list = h("div", { class: "cards" });
  private readonly camera = new Camera((why) => this.lost(why));
  private readonly button = h("button", { type: "button", class: "primary", click: () => void this.teach() }, "Teach");
  private readonly state = h("p", { class: "quiet", role: "status" });
  private readonly trouble = h("p", { class: "bad", role: "alert" });
  private readonly outcome = h("div");
  private readonly add: HTMLButtonElement;
  private predictor: Promise<Predictor> | undefined;
  private recorded: Card | undefined;
  private takes = 0;
  private pending = 0;

  /** @param use is given the taught model when the user wants to try it. */
  constructor(
    private readonly opened: Opened,
    private readonly use: (taught: Opened) => void,
  ) {
    this.add = h("button", { type: "button", click: () => this.addCard(this.freeName()).focus() }, icon("plus"), "Add a class");
    const folders = chooser("A folder for each class", "folder", (images) => void this.take(images), true);
    const intro = h(
      "p",
      {},
      "Show a few images of each class, then teach. A new last layer is trained here, on what the network already sees; nothing leaves this device.",
    );
    const panel = h("section", { class: "panel", "aria-label": "Teaching" }, this.button, this.state, this.trouble, this.outcome);
    this.element = h("div", { class: "teach" }, h("div", { class: "seen" }, intro, this.list, h("div", { class: "actions" }, this.add, folders)), panel);
    this.addCard("Class 1");
    this.addCard("Class 2");
  }

  /** Takes images: into the class that they were dropped on, or by the folders that they lie in. */
  async take(images: readonly Incoming[], target: EventTarget | null = null): Promise<void> {
    fill(this.trouble, images.length === 0 && `No images found. ${WORKS}`);
    const under = this.cards.find(({ element }) => target instanceof Node && element.contains(target));
    if (images.some((image) => under === undefined && folderOf(image) !== "")) this.removeEmpty();
    for (const image of images) await this.learn(image.file, under ?? this.cardFor(folderOf(image)), image.path);
  }

  pause(): void {
    this.stopCamera();
  }

  private async learn(source: Blob, card: Card, name: string): Promise<void> {
    this.count(1);
    try {
      const features = await this.featuresOf(source);
      card.add(await Sample.of(source, features, (this.takes += 1), name));
    } catch (error) {
      fill(this.trouble, `'${name}' was left out: ${messageOf(error)}`);
    } finally {
      this.count(-1);
    }
  }

  private async featuresOf(source: Blob | ImageBitmap): Promise<Float32Array> {
    const predictor = await (this.predictor ??= this.openPredictor());
    const { features } = await predictor.ask("predict", { source });
    if (features === undefined) throw new Error("The network gives no features.");
    return features;
  }

  /** The network with its features as an output, in ONNX Runtime whatever runs the network otherwise. */
  private async openPredictor(): Promise<Predictor> {
    const { onnx, manifest } = this.opened;
    const network = withFeatures(await onnx());
    if (network === undefined) throw new Error("This network has no last layer that could be replaced.");
    // Features of the image itself: mirrored views are averaged after the head that is replaced.
    const head: ClassifierHead = { ...(manifest.head as ClassifierHead), mirrors: "none" };
    return Predictor.open(this.candidate(network), { ...manifest, head });
  }

  private candidate(network: Uint8Array): Candidate {
    return { runtime: "onnx", network: async () => network, folder: this.opened.folder("onnx"), setting: { threads: 1 } };
  }

  /** Records a class until it is asked for again, or there is enough. */
  private async record(card: Card): Promise<void> {
    const before = this.recorded;
    this.stopCamera();
    if (before === card) return;
    this.recorded = card;
    card.recording(this.camera.video);
    try {
      await this.camera.start();
      const take = (this.takes += 1);
      for (let i = 0; i < MOST_FRAMES && this.recorded === card; i += 1) {
        const next = performance.now() + FRAME_EVERY;
        await this.learnFrame(card, take, i);
        await new Promise((resolve) => setTimeout(resolve, Math.max(0, next - performance.now())));
      }
    } catch (error) {
      fill(this.trouble, messageOf(error));
    }
    if (this.recorded === card) this.stopCamera();
  }

  private async learnFrame(card: Card, take: number, i: number): Promise<void> {
    const frame = await this.camera.frame();
    if (frame === undefined) return;
    const sample = await Sample.of(frame, await this.featuresOf(frame), take, `take ${take}, frame ${i + 1}`);
    frame.close();
    card.add(sample);
  }

  private lost(why: string): void {
    this.stopCamera();
    fill(this.trouble, `The camera stopped. ${why}`);
  }

  private stopCamera(): void {
    this.recorded?.recording(undefined);
    this.recorded = undefined;
    this.camera.stop();
  }

  private async teach(): Promise<void> {
    this.stopCamera();
    const labels = this.cards.map(({ name }) => name);
    const samples = this.cards.flatMap((card) => card.samples);
    const classes = this.cards.flatMap((card, k) => card.samples.map(() => k));
    const held = document.activeElement === this.button;
    this.button.disabled = true;
    fill(this.trouble);
    fill(this.state, "Teaching …");
    try {
      const predictor = await (this.predictor ??= this.openPredictor());
      const lesson = { features: samples.map(({ features }) => features), classes, takes: samples.map(({ take }) => take), count: labels.length };
      const start = performance.now();
      const taught = await predictor.ask("teach", lesson);
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      const made = await this.made(taught, labels);
      const actions = { tryIt: () => void this.tryIt(made), download: () => download(made.network) };
      this.outcome.classList.remove("stale");
      fill(this.outcome, results(taught, samples, classes, labels, actions));
      fill(this.state, `Taught ${counted(labels.length, "class", "classes")} from ${counted(samples.length, "image")} in ${seconds} s.`);
      announce(this.outcome.querySelector(".verdict")?.textContent ?? "");
      this.outcome.scrollIntoView({ block: "nearest" });
    } catch (error) {
      fill(this.trouble, `This could not be taught: ${messageOf(error)}`);
    }
    this.button.disabled = false;
    if (held) this.button.focus({ preventScroll: true }); // a disabled button loses the keyboard
  }

  /** The network with the taught head, and what it says of itself. */
  private async made(taught: Taught, labels: readonly string[]): Promise<{ network: Uint8Array; manifest: Manifest }> {
    const { onnx, manifest } = this.opened;
    const head: ClassifierHead = { head: "ClassifierHead", temperature: taught.temperature, mirrors: "none" };
    const described = { ...manifest, labels, head, profile: null };
    return { network: withHead(await onnx(), taught.head, JSON.stringify(described)), manifest: described };
  }

  private async tryIt({ network, manifest }: { network: Uint8Array; manifest: Manifest }): Promise<void> {
    try {
      const predictor = await Predictor.open(this.candidate(network), manifest);
      this.use({ ...this.opened, manifest, predictor, settle: async () => [], onnx: async () => network });
    } catch (error) {
      fill(this.trouble, `The taught model does not open: ${messageOf(error)}`);
    }
  }

  private addCard(name: string): Card {
    const card = new Card(name, {
      take: (own, images) => void this.take(images, own.element),
      record: (own) => void this.record(own),
      remove: (own) => this.leaveOut(own),
      changed: () => this.check(),
    });
    this.cards.push(card);
    this.list.append(card.element);
    this.check();
    return card;
  }

  /** Removes a class, and puts the keyboard into the one beside it. */
  private leaveOut(card: Card): void {
    const place = this.cards.indexOf(card);
    this.removeCard(card);
    const beside = this.cards[place] ?? this.cards[place - 1];
    (beside ?? this.add).focus();
  }

  private removeCard(card: Card): void {
    if (this.recorded === card) this.stopCamera();
    this.cards.splice(this.cards.indexOf(card), 1);
    card.element.remove();
    this.check();
  }

  /** Removes the classes that have no images: folders bring their own. */
  private removeEmpty(): void {
    for (const card of [...this.cards]) if (card.samples.length === 0) this.removeCard(card);
  }

  /** The class of this name, which is made if there is none; images without a folder go to the last class. */
  private cardFor(name: string): Card {
    if (name === "") return this.cards.at(-1) ?? this.addCard(this.freeName());
    return this.cards.find((card) => card.name === name) ?? this.addCard(name);
  }

  private freeName(): string {
    const taken = new Set(this.cards.map(({ name }) => name));
    for (let i = this.cards.length + 1; ; i += 1) if (!taken.has(`Class ${i}`)) return `Class ${i}`;
  }

  private count(change: number): void {
    this.pending += change;
    this.check();
  }

  /** Says what is still missing before the classes can be taught. */
  private check(): void {
    const missing = this.missing();
    const stale = this.outcome.childElementCount > 0;
    this.outcome.classList.toggle("stale", stale);
    this.button.disabled = missing !== "";
    this.state.setAttribute("aria-busy", String(this.pending > 0)); // what is said for every image is not read aloud
    fill(this.state, missing || (stale && "The classes have changed since. Teach again to see what that did."));
  }

  private missing(): string {
    if (this.pending > 0) return `Looking at ${counted(this.pending, "image")} …`;
    const names = this.cards.map(({ name }) => name);
    if (names.length < 2) return "At least two classes are needed.";
    if (names.includes("")) return "Every class needs a name.";
    const twice = names.find((name, i) => names.indexOf(name) !== i);
    if (twice !== undefined) return `Two classes are called '${twice}'.`;
    const poor = this.cards.find(({ samples }) => samples.length < 2);
    return poor === undefined ? "" : `'${poor.name}' needs at least 2 images; 10 or more are better.`;
  }
}

function download(network: Uint8Array): void {
  const url = URL.createObjectURL(new Blob([network as Uint8Array<ArrayBuffer>], { type: "application/octet-stream" }));
  h("a", { href: url, download: FILE }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
