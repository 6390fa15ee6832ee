/** The page: loads the model, then lets the user try it. */

import { taskOf, inputShape, type Task } from "./manifest";
import type { Time } from "./engines/choose";
import { keepOffline } from "./offline";
import { HERE, type Opened, openSite } from "./site";
import { announce, byId, counted, fill, h } from "./ui/dom";
import { type Incoming, listen } from "./ui/intake";
import { Teach } from "./ui/teach/teach";
import { messageOf, Try } from "./ui/try";

const KINDS: Record<Task, string> = { classify: "Classifier", detect: "Detector", segment: "Segmenter" };

/** Labels that the heading names one by one. */
const NAMED = 4;

/** The model that the heading and the footer describe. */
let described: Opened | undefined;

void start();

async function start(): Promise<void> {
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Loading the model" });
  const words = h("p", { class: "quiet" }, "Loading the model …");
  fill(byId("main"), h("div", { class: "loading" }, bar, words));
  try {
    const opened = await openSite((share) => {
      bar.value = share;
      if (share >= 1) bar.removeAttribute("value");
      fill(words, share < 1 ? "Loading the model …" : "Opening it …");
    });
    show(opened);
    void settle(opened);
  } catch (error) {
    document.documentElement.dataset["state"] = "failed";
    fill(byId("model"), "The model does not open");
    fill(byId("main"), h("div", { class: "notice", role: "alert" }, h("p", {}, messageOf(error)), reload()));
  }
  await keepOffline(HERE, (text) => fill(byId("offline"), text));
}

/** What the user does: trying the model, or teaching it. */
interface Mode {
  readonly element: HTMLElement;
  take(images: Incoming[], target?: EventTarget | null): Promise<void>;
  pause(): void;
}

function show(opened: Opened): void {
  const modes = new Map<string, Mode>([["Try", new Try(opened)]]);
  if (taskOf(opened.manifest) === "classify") modes.set("Teach", new Teach(opened, tryTaught));
  let current = "";
  const button = (mode: string): HTMLButtonElement => h("button", { type: "button", click: () => switchTo(mode) }, mode);
  const buttons = new Map([...modes.keys()].map((mode) => [mode, button(mode)]));
  const nav = byId("modes");
  nav.hidden = modes.size < 2;
  fill(nav, ...buttons.values());
  switchTo("Try");
  describe(opened);
  listen((images, target) => void modes.get(current)?.take(images, target));
  announce(`${opened.manifest.model} is ready.`);
  Object.assign(window, { mobilenets: { manifest: opened.manifest, predictor: opened.predictor } });
  document.documentElement.dataset["state"] = "ready";

  function switchTo(name: string): void {
    if (name === current) return;
    modes.get(current)?.pause();
    current = name;
    fill(byId("main"), modes.get(name)!.element);
    for (const [mode, each] of buttons) each.setAttribute("aria-current", mode === name ? "page" : "false");
  }

  function tryTaught(taught: Opened): void {
    modes.set("Try", new Try(taught));
    describe(taught);
    switchTo("Try");
    byId("main").focus(); // the button that was pressed is gone
    announce("The taught model is ready.");
  }
}

/** Finds the fastest way to run the network here, while the page is used. */
async function settle(opened: Opened): Promise<void> {
  const times = await opened.settle();
  if (described === opened) describeEngine(opened, times);
  document.documentElement.dataset["engine"] = "settled";
}

/** The page's heading and footer. */
function describe(opened: Opened): void {
  described = opened;
  const { manifest } = opened;
  const [height, width] = inputShape(manifest.input);
  document.title = `${manifest.model} in the browser`;
  fill(byId("model"), manifest.model);
  const labels = manifest.labels.length <= NAMED ? `: ${manifest.labels.join(", ")}` : ` of ${counted(manifest.labels.length, "label")}`;
  fill(byId("about"), `${KINDS[taskOf(manifest)]}${labels}. ${width} × ${height} px, ${manifest.precision}`);
  describeEngine(opened, []);
}

/** The part of the footer that says what runs the network, and what other ways to run it took, where they were measured. */
function describeEngine({ predictor }: Opened, times: readonly Time[]): void {
  const own = times.find(({ title }) => title === predictor.title);
  const others = times.filter((each) => each !== own).map(({ title, ms }) => `${title} ${ms.toFixed(1)} ms`);
  const compared = own === undefined || others.length === 0 ? "" : `, the fastest here: ${own.ms.toFixed(1)} ms, ${others.join(", ")}`;
  fill(byId("engine"), `Runs with ${predictor.title}${compared}.`);
}

function reload(): HTMLElement {
  return h("button", { type: "button", click: () => location.reload() }, "Try again");
}
