/** The worker: decodes, prepares, runs and decodes again, so that the page never waits. */

import { decodeImage } from "./contract/decode";
import { withAlpha } from "./contract/image";
import { prepare } from "./contract/prepare";
import { decode } from "./decoders/decode";
import { forAnyThreshold } from "./decoders/detect";
import type { Engine } from "./engines/engine";
import { OPENERS } from "./engines/table";
import type { Manifest } from "./manifest";
import type { Input, Method, Predicted, Reply, Request, Work } from "./messages";
import { FEATURES } from "./teach/onnx";
import { taught } from "./teach/lesson";
import { runViews } from "./views";

let engine: Engine | undefined;
let manifest: Manifest | undefined;

type Handlers = { [M in Method]: (request: Parameters<Work[M]>[0]) => Promise<ReturnType<Work[M]>> };

const HANDLERS: Handlers = {
  async open(request) {
    manifest = request.manifest;
    engine = await opened(OPENERS[request.runtime])(request.network, request.folder, request.setting);
    return engine.peakBytes;
  },
  async picture({ source }) {
    return createImageBitmap(withAlpha(await decodeImage(source)));
  },
  async prepare({ source }) {
    return prepared(source, opened(manifest));
  },
  async run({ image }) {
    return runViews(opened(engine), image, opened(manifest).head);
  },
  async decode({ outputs, placement }) {
    return decode(outputs, opened(manifest), placement);
  },
  async predict({ source }) {
    return predicted(source, opened(engine), opened(manifest));
  },
  async teach(lesson) {
    return taught(lesson);
  },
};

addEventListener("message", ({ data }: MessageEvent<Request>) => void answer(data));

async function answer({ id, method, request }: Request): Promise<void> {
  try {
    reply({ id, result: await (HANDLERS[method] as (request: unknown) => Promise<unknown>)(request) });
  } catch (error) {
    reply({ id, error: error instanceof Error ? error.message : String(error) });
  }
}

function reply(message: Reply): void {
  postMessage(message);
}

async function prepared(source: Blob | ImageBitmap, manifest: Manifest): Promise<Input> {
  const { values, shape, placement } = prepare(await decodeImage(source), manifest.input);
  return { image: { data: values, dims: [1, ...shape] }, placement };
}

async function predicted(source: Blob | ImageBitmap, engine: Engine, manifest: Manifest): Promise<Predicted> {
  const start = performance.now();
  const { image, placement } = await prepared(source, manifest);
  const ready = performance.now();
  const outputs = await runViews(engine, image, manifest.head);
  const done = performance.now();
  const prediction = decode(outputs, forAnyThreshold(manifest), placement);
  const times = { prepareMs: ready - start, networkMs: done - ready, decodeMs: performance.now() - done };
  return { prediction, times, features: outputs[FEATURES]?.data };
}

function opened<T>(part: T | undefined): T {
  if (part === undefined) throw new Error("The network is not opened, or of an unknown kind.");
  return part;
}
