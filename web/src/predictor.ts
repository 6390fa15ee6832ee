/** A network that runs in a worker of its own. */

import { RUNTIMES, type Setting } from "./engines/engine";
import type { Manifest } from "./manifest";
import type { Method, Reply, Work } from "./messages";

/** A network in a file, and what runs it. */
export interface Candidate {
  readonly runtime: string;
  readonly network: () => Promise<Uint8Array>;
  /** The address of the runtime's own files, which ends in a slash. */
  readonly folder: string;
  readonly setting: Setting;
}

interface Waiting {
  readonly resolve: (result: never) => void;
  readonly reject: (error: Error) => void;
}

export class Predictor {
  private readonly waiting = new Map<number, Waiting>();
  private last = 0;
  private worker: Worker;

  private constructor(
    private runs: Candidate,
    worker: Worker,
  ) {
    this.worker = this.heard(worker);
  }

  static async open(candidate: Candidate, manifest: Manifest): Promise<Predictor> {
    const worker = new Worker(new URL("./worker.ts", import.meta.url));
    const predictor = new Predictor(candidate, worker);
    try {
      const { runtime, folder, setting } = candidate;
      await predictor.ask("open", { runtime, network: await candidate.network(), folder, setting, manifest });
    } catch (error) {
      predictor.close();
      throw error;
    }
    return predictor;
  }

  get candidate(): Candidate {
    return this.runs;
  }

  /** What runs the network, for people. */
  get title(): string {
    const { runtime, setting } = this.runs;
    const { threads } = setting;
    return `${RUNTIMES[runtime]?.title} on ${threads} ${threads === 1 ? "thread" : "threads"}`;
  }

  ask<M extends Method>(method: M, request: Parameters<Work[M]>[0], transfer: Transferable[] = []): Promise<ReturnType<Work[M]>> {
    const id = (this.last += 1);
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve: resolve as Waiting["resolve"], reject });
      this.worker.postMessage({ id, method, request }, transfer);
    });
  }

  /** Goes on as another predictor of the same network, which is nobody else's any more. What was asked before is still answered. */
  become(other: Predictor): void {
    const old = this.worker;
    const asked = [...this.waiting.keys()];
    const leave = (): void => {
      if (!asked.some((id) => this.waiting.has(id))) old.terminate();
    };
    old.addEventListener("message", leave);
    leave();
    this.runs = other.runs;
    this.worker = this.heard(other.worker);
  }

  close(): void {
    this.worker.terminate();
    this.fail(new Error("The network was closed."));
  }

  private heard(worker: Worker): Worker {
    worker.addEventListener("message", ({ data }: MessageEvent<Reply>) => this.take(data));
    worker.addEventListener("error", (event) => this.fail(new Error(event.message || "The worker did not start.")));
    return worker;
  }

  private take(reply: Reply): void {
    const waiting = this.waiting.get(reply.id);
    this.waiting.delete(reply.id);
    if ("error" in reply) waiting?.reject(new Error(reply.error));
    else waiting?.resolve(reply.result as never);
  }

  private fail(error: Error): void {
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }
}
