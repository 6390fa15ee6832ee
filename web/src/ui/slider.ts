import { h } from "./dom";

/** A slider from 0 to 100 % with its name and value; `-` is left of 0. */
export interface Slider {
  readonly element: HTMLElement;
  readonly value: number;
  /** Puts it at the middle of values that count in its place, 0 to 1, and shows these until it is moved. */
  show(values: readonly number[]): void;
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
  const write = (said = input.value): void => {
    shown.textContent = `${said}%`;
    input.setAttribute("aria-valuetext", `${said.replace("–", " to ")} percent`);
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
    show(values) {
      const [low, high] = [Math.min(...values), Math.max(...values)].map((value) => Math.round(100 * value));
      input.value = String(Math.round((low! + high!) / 2));
      write(low === high ? String(low) : `${low}–${high}`);
    },
  };
}
