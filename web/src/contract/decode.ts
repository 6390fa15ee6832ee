/** An encoded image or a frame of a camera -> upright pixels, with transparency over white. */

import { type Image, withoutAlpha } from "./image";
import { decodeDeepGrey } from "./png";
import { turned, withoutOrientation } from "./webp";

/** What a user can do about an image that does not decode. */
export class ImageError extends Error {}

/**
 * The image as a person sees it: first frame, upright, transparency over white, 8 bits, colors as they are stored.
 *
 * The browser decodes. Where it differs from the Python package is told in the guide to the browser.
 */
export async function decodeImage(source: Blob | ImageBitmap): Promise<Image> {
  if (!(source instanceof Blob)) return pixelsOf(source);
  const deep = await decodeDeepGrey(source);
  if (deep !== undefined) return deep;
  const plain = await withoutOrientation(source);
  const image = pixelsOf(await opened(plain?.file ?? source));
  return plain === undefined ? image : turned(image, plain.orientation);
}

async function opened(file: Blob): Promise<ImageBitmap> {
  if (file.size === 0) throw new ImageError("The file is empty.");
  try {
    return await createImageBitmap(file, { colorSpaceConversion: "none", imageOrientation: "from-image" });
  } catch {
    throw new ImageError("This is not an image that your browser can read. JPEG, PNG, WebP, GIF and BMP work everywhere.");
  }
}

/** The pixels of a bitmap, which is closed. */
function pixelsOf(bitmap: ImageBitmap): Image {
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (context === null) throw new ImageError(`The image of ${width} x ${height} px is too large for this browser.`);
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  try {
    return withoutAlpha(context.getImageData(0, 0, width, height).data, width, height);
  } catch {
    throw new ImageError(`The image of ${width} x ${height} px is too large for this browser.`);
  }
}
