/** The page: loads the model, then lets the user try it. */

import { taskOf, inputShape, type Task } from "./manifest";
import { keepOffline } from "./offline";
import { HERE, type Opened, openSite } from "./site";
import { announce, byId, counted, fill, h } from "./ui/dom";
import { listen } from "./ui/intake";
import { messageOf, Try } from "./ui/try";

const KINDS: Record<Task, string> = { classify: "Classifier", detect: "Detector", segment: "Segmenter" };

void start();

async function start(): Promise<void> {
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Loading the model" });
  const words = h("p", { class: "quiet" }, "Loading the model …");
  fill(byId("main"), h("div", { class: "loading" }, bar, words));
  try {
    const opened = await openSite((share) => {
      bar.value = share;
      if (share >= 1) {
        bar.removeAttribute("value");
        fill(words, "Looking for the fastest way to run it here …");
      }
    });
    show(opened);
  } catch (error) {
    document.documentElement.dataset["state"] = "failed";
    fill(byId("model"), "The model does not open");
    fill(byId("main"), h("div", { class: "notice", role: "alert" }, h("p", {}, messageOf(error)), reload()));
  }
  await keepOffline(HERE, (text) => fill(byId("offline"), text));
}

function show(opened: Opened): void {
  const { manifest, predictor } = opened;
  const [height, width] = inputShape(manifest.input);
  document.title = `${manifest.model} in the browser`;
  fill(byId("model"), manifest.model);
  fill(byId("about"), `${KINDS[taskOf(manifest)]} of ${counted(manifest.labels.length, "label")}, ${width} × ${height} px, ${manifest.precision}`);
  fill(byId("engine"), `Runs with ${predictor.title}${compared(opened)}.`);
  const trying = new Try(opened);
  fill(byId("main"), trying.element);
  listen((files) => void trying.take(files));
  announce(`${manifest.model} is ready.`);
  Object.assign(window, { mobilenets: { manifest, predictor } });
  document.documentElement.dataset["state"] = "ready";
}

/** What the other ways to run the network took, where they were measured. */
function compared({ predictor, measured }: Opened): string {
  const own = measured.find(({ title }) => title === predictor.title);
  const others = measured.filter((each) => each !== own);
  if (own === undefined || others.length === 0) return "";
  return `, the fastest here: ${own.ms.toFixed(1)} ms, ${others.map(({ title, ms }) => `${title} ${ms.toFixed(1)} ms`).join(", ")}`;
}

function reload(): HTMLElement {
  return h("button", { type: "button", click: () => location.reload() }, "Try again");
}
