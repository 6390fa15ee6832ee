/** Colors of classes. As `runtime/segment/palette.py`. */

import type { Color } from "../manifest";

const BACKGROUND = new Set(["background", "__background__", "_background_"]);

// prettier-ignore
const FIRST: readonly Color[] = [
  [31, 119, 180], [255, 127, 14], [44, 160, 44], [214, 39, 40], [148, 103, 189], [140, 86, 75], [227, 119, 194],
  [188, 189, 34], [23, 190, 207], [255, 221, 87], [0, 78, 137], [166, 216, 84], [178, 34, 34], [128, 128, 128],
  [0, 110, 70], [255, 182, 193], [75, 0, 130], [210, 180, 140], [0, 255, 170], [90, 60, 20],
];

/** The colors that a model brings, or one of ours for each label: black for a background, and always the same. */
export function colorsFor(labels: readonly string[], own: readonly Color[] = []): Color[] {
  if (own.length === labels.length) return [...own];
  let drawn = 0;
  let black = false;
  return labels.map((label) => {
    if (!black && BACKGROUND.has(label.toLowerCase())) {
      black = true;
      return [0, 0, 0];
    }
    return colorAt(drawn++);
  });
}

function colorAt(i: number): Color {
  const color = FIRST[i];
  if (color !== undefined) return color;
  const hue = (i * 0.618033988749895) % 1; // the golden ratio: neighbors are far apart
  return rgbOf(hue, [0.35, 0.55, 0.72][i % 3]!, [0.95, 0.65][Math.floor(i / 3) % 2]!);
}

/** Red, green and blue, 0 to 255, of hue, lightness and saturation, 0 to 1. */
function rgbOf(hue: number, lightness: number, saturation: number): Color {
  const high = lightness <= 0.5 ? lightness * (1 + saturation) : lightness + saturation - lightness * saturation;
  const low = 2 * lightness - high;
  const channel = (at: number): number => {
    const turn = ((at % 1) + 1) % 1;
    if (turn < 1 / 6) return low + (high - low) * turn * 6;
    if (turn < 1 / 2) return high;
    return turn < 2 / 3 ? low + (high - low) * (2 / 3 - turn) * 6 : low;
  };
  const level = (at: number): number => Math.round(255 * channel(at));
  return [level(hue + 1 / 3), level(hue), level(hue - 1 / 3)];
}

export function css([red, green, blue]: Color): string {
  return `rgb(${red} ${green} ${blue})`;
}

/** Whether black text reads better on this color than white. */
export function isBright([red, green, blue]: Color): boolean {
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140;
}
