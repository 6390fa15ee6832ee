import { h } from "./dom";

/** A slider from 0 to 100 % with its name and value; `-` is left of 0. */
export interface Slider {
  readonly element: HTMLElement;
  readonly value: number;
}

let made = 0;

export function slider(name: string, start: number, moved: () => void, hint = ""): Slider {
  const id = `slider-${(made += 1)}`;
  const shown = h("span", { class: "value", "aria-hidden": "true" }); // the slider says its value itself
  const input = h("input", {
    id,
    type: "range",
    min: 0,
    max: 100,
    step: 1,
    value: Math.round(100 * start),
    input: () => {
      write();
      moved();
    },
  });
  const write = (): void => {
    shown.textContent = `${input.value}%`;
    input.setAttribute("aria-valuetext", `${input.value} percent`);
  };
  write();
  const element = h(
    "div",
    { class: "slider" },
    h("label", { for: id }, name),
    shown,
    input,
    hint !== "" && h("p", { class: "quiet" }, hint),
  );
  return {
    element,
    get value() {
      return Number(input.value) / 100;
    },
  };
}
