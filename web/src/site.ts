/** The files beside the page: the network, its manifest, the runtimes. */

import { choose, keyOf, type Choice } from "./engines/choose";
import { settingsHere, TITLES } from "./engines/engine";
import type { Manifest, NetworkFile, Site } from "./manifest";
import type { Candidate } from "./predictor";

/** The address of the page's folder, with a slash at its end. */
export const HERE = new URL(".", location.href).href;

const CHOSEN = "mobilenets.engine";

export interface Opened extends Choice {
  readonly manifest: Manifest;
  /** The network as ONNX, which a taught head goes into. */
  readonly onnx: () => Promise<Uint8Array>;
  /** The address of a runtime's files. */
  readonly folder: (runtime: string) => string;
}

/**
 * Loads the network and opens it with the fastest runtime.
 *
 * @param progress is told the share of a file that has arrived, 0 to 1.
 */
export async function openSite(progress: (share: number) => void): Promise<Opened> {
  const site = (await (await found("model/model.json")).json()) as Site;
  const candidates = site.networks
    .filter(({ runtime }) => runtime in TITLES)
    .flatMap((file): Candidate[] => {
      const network = loaded(file, progress);
      return settingsHere().map((setting) => ({ runtime: file.runtime, network, folder: folderOf(file.runtime), setting }));
    });
  if (candidates.length === 0) throw new Error("This page has no network that it can run. Export it again.");
  const key = site.networks.map(({ sha256 }) => sha256.slice(0, 16)).join("+");
  const choice = await choose(candidates, site.manifest, recalled(key));
  remember(key, keyOf(choice.predictor.candidate));
  const onnx = candidates.find(({ runtime }) => runtime === "onnx");
  return { ...choice, manifest: site.manifest, onnx: onnx?.network ?? missing, folder: folderOf };
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
  const bytes = new Uint8Array(loaded);
  chunks.reduce((at, chunk) => (bytes.set(chunk, at), at + chunk.length), 0);
  return bytes;
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
