/** The files beside the page: the network, its manifest, the runtimes. */

import { joined } from "./bytes";
import { choose, keyOf, type Time } from "./engines/choose";
import { RUNTIMES, settingsHere } from "./engines/engine";
import type { Manifest, NetworkFile, Site } from "./manifest";
import type { Candidate, Predictor } from "./predictor";

/** The address of the page's folder, with a slash at its end. */
export const HERE = new URL(".", location.href).href;

const CHOSEN = "mobilenets.engine";

export interface Opened {
  readonly manifest: Manifest;
  readonly predictor: Predictor;
  /** Lets the predictor go on with the fastest runtime, and gives the milliseconds of each that was measured for that. */
  readonly settle: () => Promise<readonly Time[]>;
  /** The network as ONNX, which a taught head goes into. */
  readonly onnx: () => Promise<Uint8Array>;
  /** The address of a runtime's files. */
  readonly folder: (runtime: string) => string;
}

/**
 * Loads the network and opens it with the runtime that loads fastest, or that was the fastest the last time.
 *
 * @param progress is told the share of a file that has arrived, 0 to 1.
 */
export async function openSite(progress: (share: number) => void): Promise<Opened> {
  const site = (await (await found("model/model.json")).json()) as Site;
  const files = new Map(site.networks.map((each) => [each.file, loaded(each, progress)]));
  const candidates = site.networks.flatMap(({ runtime, file, weights }): Candidate[] => {
    const known = RUNTIMES[runtime];
    if (known === undefined) return [];
    const parts = [file, weights].flatMap((name) => files.get(name ?? "") ?? []);
    const network = async (): Promise<Uint8Array> => joined(await Promise.all(parts.map((part) => part())));
    return settingsHere(known).map((setting) => ({ runtime, network, folder: folderOf(runtime), setting }));
  });
  if (candidates.length === 0) throw new Error("This page has no network that it can run. Export it again.");
  const key = site.networks.map(({ sha256 }) => sha256.slice(0, 16)).join("+");
  const { predictor, settle } = await choose(candidates, site.manifest, recalled(key));
  const settled = async (): Promise<readonly Time[]> => {
    const times = (await settle?.()) ?? [];
    remember(key, keyOf(predictor.candidate));
    return times;
  };
  const onnx = candidates.find(({ runtime }) => runtime === "onnx");
  return { predictor, settle: settled, manifest: site.manifest, onnx: onnx?.network ?? missing, folder: folderOf };
}

function missing(): never {
  throw new Error("This page has no ONNX file.");
}

function folderOf(runtime: string): string {
  return new URL(`engines/${runtime}/`, HERE).href;
}

/** Loads a network when it is first asked for. */
function loaded({ file, size_bytes }: NetworkFile, progress: (share: number) => void): () => Promise<Uint8Array> {
  let bytes: Promise<Uint8Array> | undefined;
  return () => (bytes ??= bytesOf(`model/${file}`, (count) => progress(count / size_bytes)));
}

async function found(path: string): Promise<Response> {
  const response = await fetch(new URL(path, HERE));
  if (!response.ok) throw new Error(`The file '${path}' is missing (${response.status}). Export the page again.`);
  return response;
}

async function bytesOf(path: string, progress: (loaded: number) => void): Promise<Uint8Array> {
  const response = await found(path);
  if (response.body === null) return new Uint8Array(await response.arrayBuffer());
  const chunks: Uint8Array[] = [];
  let loaded = 0;
  const reader = response.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    chunks.push(part.value);
    loaded += part.value.length;
    progress(loaded);
  }
  return joined(chunks);
}

/** What won before with these files; null where it is not known, or nothing can be stored. */
function recalled(key: string): string | null {
  try {
    const stored = JSON.parse(localStorage.getItem(CHOSEN) ?? "{}") as Record<string, string>;
    return stored[`${key} ${isolation()}`] ?? null;
  } catch {
    return null;
  }
}

function remember(key: string, engine: string): void {
  try {
    localStorage.setItem(CHOSEN, JSON.stringify({ [`${key} ${isolation()}`]: engine }));
  } catch {
    // Private windows store nothing; it is measured again next time.
  }
}

/** With threads there is another choice to make. */
function isolation(): string {
  return crossOriginIsolated ? "threads" : "one thread";
}
