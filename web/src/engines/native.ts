/** Our own engine, compiled to WebAssembly from `native/`. An instance is one network; when a call fails, it is let go of as a whole. */

import type { Engine, Open, Outputs, Tensor } from "./engine";

/** What the module exports. Addresses are bytes of its memory. */
interface Module {
  readonly memory: WebAssembly.Memory;
  _initialize(): void;
  /** Room for so many bytes. */
  reserve(bytes: number): number;
  /** Opens the graph that lies there; the address of a text with `Facts`, which ends with a zero. */
  load(at: number, bytes: number): number;
  run(): void;
}

interface Place {
  readonly name: string;
  readonly at: number;
  /** Of its numbers; the page knows "float32". */
  readonly type: string;
  /** Without the batch. */
  readonly shape: readonly number[];
}

interface Facts {
  readonly instructions: string;
  readonly arenaBytes: number;
  readonly scratchBytes: number;
  readonly image: Place;
  readonly outputs: readonly Place[];
}

/** A module that only a browser with relaxed vectors takes: it has one function, of one such instruction. */
// prettier-ignore
const RELAXED = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11,
);

/** What the C library would print with before it gives up. Each call says that there is no such file. */
const NOWHERE = Object.fromEntries(["fd_close", "fd_seek", "fd_write"].map((name) => [name, () => 8]));

export const openNative: Open = async (network, folder) => {
  const file = WebAssembly.validate(RELAXED) ? "engine_relaxed.wasm" : "engine.wasm";
  const response = await fetch(folder + file);
  if (!response.ok) throw new Error(`The file '${file}' is missing (${response.status}).`);
  const page = { fail: (at: number, bytes: number) => failed(text(module.memory, at, bytes)) };
  const { instance } = await WebAssembly.instantiate(await response.arrayBuffer(), { page, wasi_snapshot_preview1: NOWHERE });
  const module = instance.exports as unknown as Module;
  module._initialize();
  return new NativeEngine(module, network);
};

class NativeEngine implements Engine {
  private readonly facts: Facts;
  private fault: unknown;

  constructor(
    private readonly module: Module,
    network: Uint8Array,
  ) {
    const at = module.reserve(network.length);
    new Uint8Array(module.memory.buffer).set(network, at);
    const facts = module.load(at, network.length);
    const end = new Uint8Array(module.memory.buffer).indexOf(0, facts);
    this.facts = JSON.parse(text(module.memory, facts, end - facts)) as Facts;
    const other = [this.facts.image, ...this.facts.outputs].find(({ type }) => type !== "float32");
    if (other !== undefined) throw new Error(`The network's '${other.name}' is of ${other.type}, but the page takes float32.`);
  }

  get peakBytes(): number {
    return this.facts.arenaBytes + this.facts.scratchBytes;
  }

  async run(image: Tensor): Promise<Outputs> {
    if (this.fault !== undefined) throw this.fault;
    const { image: input, outputs } = this.facts;
    const wanted = [1, ...input.shape];
    if (wanted.some((side, i) => side !== image.dims[i])) {
      throw new Error(`The network takes an image of ${wanted.join(" × ")} numbers, not of ${image.dims.join(" × ")}.`);
    }
    this.floats(input).set(image.data);
    try {
      this.module.run();
    } catch (error) {
      this.fault = error;
      throw error;
    }
    return Object.fromEntries(outputs.map((place) => [place.name, { data: this.floats(place).slice(), dims: [1, ...place.shape] }]));
  }

  async close(): Promise<void> {
    this.fault = new Error("The network was closed.");
  }

  /** The numbers at a place, until the memory grows. */
  private floats({ at, shape }: Place): Float32Array {
    return new Float32Array(this.module.memory.buffer, at, shape.reduce((count, side) => count * side, 1));
  }
}

function text(memory: WebAssembly.Memory, at: number, bytes: number): string {
  return new TextDecoder().decode(new Uint8Array(memory.buffer, at, bytes));
}

function failed(problem: string): never {
  throw new Error(`The network does not run: ${problem}.`);
}
