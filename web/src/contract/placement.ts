/** The arithmetic of the resize rules: how an image is brought to a network's input, and back. As `runtime/images/placement.py`. */

import { type InputContract, inputShape } from "../manifest";
import { roundHalfEven } from "./rounding";

export type Rectangle = readonly [x0: number, y0: number, x1: number, y1: number];

/** A part of the image is cut out, it is resized, and the input lies somewhere on the result. */
export interface Fit {
  readonly cut: Rectangle;
  readonly width: number;
  readonly height: number;
  /** The input's corner on the resized part, px; negative where the input is padded. */
  readonly left: number;
  readonly top: number;
}

/** Where the input lies on the image: `x_image = x_input * scaleX + left`, px. */
export interface Placement {
  readonly width: number;
  readonly height: number;
  readonly scaleX: number;
  readonly scaleY: number;
  readonly left: number;
  readonly top: number;
}

export function fit(width: number, height: number, contract: InputContract): Fit {
  const [inputHeight, inputWidth] = inputShape(contract);
  const whole: Rectangle = [0, 0, width, height];
  switch (contract.resize) {
    case "letterbox": {
      const scale = Math.min(inputWidth / width, inputHeight / height);
      const innerWidth = Math.max(1, Math.min(inputWidth, roundHalfEven(width * scale)));
      const innerHeight = Math.max(1, Math.min(inputHeight, roundHalfEven(height * scale)));
      const left = -Math.floor((inputWidth - innerWidth) / 2);
      const top = -Math.floor((inputHeight - innerHeight) / 2);
      return { cut: whole, width: innerWidth, height: innerHeight, left, top };
    }
    case "shorter_side_then_crop": {
      const shorter = Math.trunc(contract.size / contract.crop + 1e-6);
      const [w, h] =
        width <= height
          ? [shorter, Math.trunc((shorter * height) / width)]
          : [Math.trunc((shorter * width) / height), shorter];
      return { cut: whole, width: w, height: h, left: roundHalfEven((w - inputWidth) / 2), top: roundHalfEven((h - inputHeight) / 2) };
    }
    case "crop_then_stretch": {
      const left = margin(width, contract.crop);
      const top = margin(height, contract.crop);
      return { cut: [left, top, width - left, height - top], width: inputWidth, height: inputHeight, left: 0, top: 0 };
    }
    case "stretch":
    case "sample":
      return { cut: whole, width: inputWidth, height: inputHeight, left: 0, top: 0 };
  }
}

export function placement(width: number, height: number, contract: InputContract): Placement {
  const way = fit(width, height, contract);
  const [x0, y0, x1, y1] = way.cut;
  const scaleX = (x1 - x0) / way.width;
  const scaleY = (y1 - y0) / way.height;
  return { width, height, scaleX, scaleY, left: x0 + way.left * scaleX, top: y0 + way.top * scaleY };
}

/** Pixels cut from each end of a side, as `tf.image.central_crop` counts them. */
function margin(side: number, crop: number): number {
  return Math.trunc((side - side * crop) / 2);
}
