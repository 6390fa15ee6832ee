// Runs graphs on numbers from files in the engine as WebAssembly, without a browser.
//
//     node run_wasm.mjs ENGINE.wasm < JOBS
//
// JOBS is a list of {graph, image, outputs}: the files to read, and the folder that gets a file for each output. Prints what
// became of each: what the engine says of the network, or the error. An error that is not the engine's own is marked as a trap.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const compiled = new WebAssembly.Module(readFileSync(process.argv[2]));

const nowhere = Object.fromEntries(["fd_close", "fd_seek", "fd_write"].map((name) => [name, () => 8]));

class EngineError extends Error {}

function opened(graph) {
  const text = (at, bytes) => new TextDecoder().decode(new Uint8Array(memory.buffer, at, bytes));
  const fail = (at, bytes) => {
    throw new EngineError(text(at, bytes));
  };
  const instance = new WebAssembly.Instance(compiled, { page: { fail }, wasi_snapshot_preview1: nowhere }).exports;
  const { memory } = instance;
  instance._initialize();
  const at = instance.reserve(graph.length);
  new Uint8Array(memory.buffer).set(graph, at);
  const facts = instance.load(at, graph.length);
  const end = new Uint8Array(memory.buffer).indexOf(0, facts);
  return { instance, memory, facts: JSON.parse(text(facts, end - facts)) };
}

function ran({ graph, image, outputs }) {
  const { instance, memory, facts } = opened(readFileSync(graph));
  if (image === undefined) return facts;
  new Uint8Array(memory.buffer).set(readFileSync(image), facts.image.at);
  instance.run();
  for (const { name, at, type, shape } of facts.outputs) {
    const bytes = { float32: 4, int8: 1, uint8: 1, int64: 8 }[type] * shape.reduce((count, side) => count * side, 1);
    writeFileSync(join(outputs, name), new Uint8Array(memory.buffer, at, bytes));
  }
  return facts;
}

const results = JSON.parse(readFileSync(0, "utf-8")).map((job) => {
  try {
    return ran(job);
  } catch (error) {
    return { error: String(error.message), trap: !(error instanceof EngineError) };
  }
});
process.stdout.write(JSON.stringify(results));
