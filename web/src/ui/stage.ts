/** The place of the image: the image or the camera's picture, what is drawn over it, or an invitation. */

import { fill, h } from "./dom";
import { shaped } from "./overlay";

export class Stage {
  readonly overlay = h("canvas", { class: "overlay", "aria-hidden": "true" });
  readonly element: HTMLElement;
  private readonly picture = h("canvas", { class: "picture", role: "img" });
  private readonly frame = h("div", { class: "frame" });

  constructor(private readonly invitation: HTMLElement) {
    this.element = h("section", { class: "stage", "aria-label": "Image" }, this.invitation);
  }

  /** Shows an image, which is closed. */
  showImage(bitmap: ImageBitmap): void {
    const pen = shaped(this.picture, bitmap.width, bitmap.height);
    pen.drawImage(bitmap, 0, 0, this.picture.width, this.picture.height);
    shaped(this.overlay, bitmap.width, bitmap.height);
    bitmap.close();
    this.put(this.picture, this.picture.width, this.picture.height);
  }

  /** Says what the image is and what was found on it, for those who do not see it. */
  label(text: string): void {
    this.picture.setAttribute("aria-label", text);
  }

  showVideo(video: HTMLVideoElement): void {
    const [width, height] = [video.videoWidth || 4, video.videoHeight || 3];
    shaped(this.overlay, width, height);
    this.put(video, width, height);
  }

  /** A message in the place of the image: what went wrong, and what to do. */
  showMessage(title: string, text: string): void {
    fill(this.element, h("div", { class: "message", role: "alert" }, h("h2", {}, title), h("p", {}, text)));
  }

  showInvitation(): void {
    fill(this.element, this.invitation);
  }

  private put(shown: HTMLElement, width: number, height: number): void {
    this.frame.style.aspectRatio = `${width} / ${height}`;
    fill(this.frame, shown, this.overlay);
    fill(this.element, this.frame);
  }
}
