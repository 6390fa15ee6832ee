/** An image that was shown to be learned from: what the network sees in it, and a small picture of it. */

import { h } from "../dom";

/** Longer side of the small picture, px. */
const SIDE = 160;

export class Sample {
  private constructor(
    readonly features: Float32Array,
    readonly take: number,
    readonly name: string,
    private readonly picture: string,
  ) {}

  static async of(source: ImageBitmapSource, features: Float32Array, take: number, name: string): Promise<Sample> {
    return new Sample(features, take, name, await pictureOf(source));
  }

  /** The small picture, with what a screen reader says of it. */
  image(text: string): HTMLImageElement {
    return h("img", { src: this.picture, alt: text, decoding: "async" });
  }
}

async function pictureOf(source: ImageBitmapSource): Promise<string> {
  const whole = await createImageBitmap(source);
  const scale = Math.min(1, SIDE / Math.max(whole.width, whole.height));
  const canvas = h("canvas");
  canvas.width = Math.max(1, Math.round(whole.width * scale));
  canvas.height = Math.max(1, Math.round(whole.height * scale));
  const pen = canvas.getContext("2d");
  if (pen !== null) {
    pen.imageSmoothingQuality = "high";
    pen.drawImage(whole, 0, 0, canvas.width, canvas.height);
  }
  whole.close();
  return canvas.toDataURL("image/jpeg", 0.8);
}
