/** A row of buttons that is one stop of the Tab key: arrows, Home and End move within it. */

const MOVES: Record<string, (i: number, count: number) => number> = {
  ArrowRight: (i, count) => Math.min(i + 1, count - 1),
  ArrowLeft: (i) => Math.max(i - 1, 0),
  Home: () => 0,
  End: (_, count) => count - 1,
};

/**
 * Makes a list of buttons one stop of the Tab key, for assistive technology a toolbar.
 *
 * @param reached is told the button that a key moved to.
 */
export function rove(list: HTMLElement, reached: (button: HTMLButtonElement) => void = () => undefined): void {
  list.setAttribute("role", "toolbar");
  list.addEventListener("keydown", (event) => {
    const all = buttonsOf(list);
    const to = MOVES[event.key]?.(all.indexOf(document.activeElement as HTMLButtonElement), all.length);
    if (to === undefined || all[to] === undefined) return;
    event.preventDefault();
    all[to].focus();
    reached(all[to]);
  });
  list.addEventListener("focusin", ({ target }) => {
    for (const each of buttonsOf(list)) each.tabIndex = each === target ? 0 : -1;
  });
}

/** Makes the first button the stop of the Tab key, unless one has the keyboard. To be called when buttons were added. */
export function keepStop(list: HTMLElement): void {
  const all = buttonsOf(list);
  const stop = all.find((each) => each === document.activeElement) ?? all[0];
  for (const each of all) each.tabIndex = each === stop ? 0 : -1;
}

function buttonsOf(list: HTMLElement): HTMLButtonElement[] {
  return [...list.querySelectorAll("button")];
}
