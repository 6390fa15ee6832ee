/** What is drawn over an image: boxes with their labels, or the classes of its pixels. */

import { css, isBright } from "../decoders/palette";
import type { Detections, Segmentation } from "../decoders/prediction";
import type { Color } from "../manifest";

/** Pixels of the longer side of what is drawn; more is not seen. */
const MOST = 2048;

/** How much smaller than an image its drawing is. */
export function drawnScale(width: number, height: number): number {
  return Math.min(1, MOST / Math.max(width, height));
}

/** Gives a canvas the shape of an image and clears it. */
export function shaped(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D {
  const scale = drawnScale(width, height);
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d");
  if (context === null) throw new Error("This browser cannot draw.");
  return context;
}

/** Pixels of a canvas for one of the page: on a phone a photo is shown much smaller than it is drawn. */
function pixelsPerShown(canvas: HTMLCanvasElement): number {
  const shown = Math.min(canvas.clientWidth / canvas.width, canvas.clientHeight / canvas.height);
  return shown > 0 ? Math.max(1, 1 / shown) : 1;
}

/** The boxes at these indices, the first of them on top. */
export function drawBoxes(
  canvas: HTMLCanvasElement,
  found: Detections,
  shown: readonly number[],
  labels: readonly string[],
  colors: readonly Color[],
): void {
  const pen = shaped(canvas, found.width, found.height);
  const scale = drawnScale(found.width, found.height);
  const px = pixelsPerShown(canvas);
  const unit = Math.max(px, Math.min(canvas.width, canvas.height) / 320);
  pen.lineJoin = "round";
  pen.font = `600 ${Math.round(Math.max(11 * px, unit * 7))}px system-ui, sans-serif`;
  pen.textBaseline = "middle";
  for (const i of [...shown].reverse()) {
    const color = colors[found.classes[i]!]!;
    const [x0, y0, x1, y1] = [0, 1, 2, 3].map((edge) => found.boxes[4 * i + edge]! * scale) as [number, number, number, number];
    pen.lineWidth = 2 * unit;
    pen.strokeStyle = css(color);
    pen.beginPath();
    pen.roundRect(x0, y0, x1 - x0, y1 - y0, 2 * unit);
    pen.stroke();
    const text = `${labels[found.classes[i]!]} ${Math.round(100 * found.scores[i]!)}%`;
    const width = pen.measureText(text).width + 6 * unit;
    const height = Math.max(16 * px, unit * 11);
    const left = Math.max(0, Math.min(x0, canvas.width - width));
    const top = y0 >= height ? y0 - height : Math.max(0, y0);
    pen.fillStyle = css(color);
    pen.beginPath();
    pen.roundRect(left, top, width, height, 2 * unit);
    pen.fill();
    pen.fillStyle = isBright(color) ? "black" : "white";
    pen.fillText(text, left + 3 * unit, top + height / 2);
  }
}

/** Each class in its color; a black one is clear. */
export function drawMask(canvas: HTMLCanvasElement, found: Segmentation, colors: readonly Color[], opacity: number): void {
  const pen = shaped(canvas, found.width, found.height);
  const { width, height } = canvas;
  const image = pen.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const alpha = Math.round(255 * opacity);
  const packed = colors.map(([red, green, blue]) => (red + green + blue === 0 ? 0 : (alpha << 24) | (blue << 16) | (green << 8) | red));
  for (let y = 0, to = 0; y < height; y += 1) {
    const row = Math.floor(((y + 0.5) * found.height) / height) * found.width;
    for (let x = 0; x < width; x += 1, to += 1) {
      pixels[to] = packed[found.classes[row + Math.floor(((x + 0.5) * found.width) / width)]!]!;
    }
  }
  pen.putImageData(image, 0, 0);
}
