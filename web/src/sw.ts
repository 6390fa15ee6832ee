/**
 * The service worker: keeps every file of the page, so that it runs offline, and gives the page the headers that threads need
 * where a server of static files does not.
 */

export {};

declare const self: ServiceWorkerGlobalScope;

/** Every file of the folder, and a name for their content: `mobilenets export --to web` writes it. */
interface Files {
  readonly version: string;
  readonly files: readonly string[];
}

const LIST = "files.json";
const PREFIX = `mobilenets ${self.registration.scope} `;
/** The page registers this worker under the version of its files, so that another version is another worker. */
const CACHE = PREFIX + new URL(self.location.href).searchParams.get("version");
/** Folders whose files do not change under their names, or only together with the version. */
const SETTLED = ["assets/", "engines/"];

self.addEventListener("install", (event) => {
  event.waitUntil(kept().then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(forgotten().then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith(self.registration.scope)) return;
  event.respondWith(answered(request).then(isolated));
});

/** Puts every file into the cache of this version. */
async function kept(): Promise<void> {
  const response = await fetch(LIST, { cache: "no-store" });
  const { files } = (await response.json()) as Files;
  const cache = await caches.open(CACHE);
  await cache.addAll([...files, LIST].map((file) => new Request(file, { cache: "no-cache" })));
}

/** Deletes the caches of other versions. */
async function forgotten(): Promise<void> {
  const others = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== CACHE);
  await Promise.all(others.map((name) => caches.delete(name)));
}

/** What is settled comes from the cache. The rest is asked for, so that a new export is seen at once, and cached for when that fails. */
async function answered(request: Request): Promise<Response> {
  const url = new URL(request.url);
  if (url.pathname.endsWith("/")) url.pathname += "index.html";
  const stored = await (await caches.open(CACHE)).match(url.href, { ignoreSearch: true });
  const path = url.href.slice(self.registration.scope.length);
  if (stored !== undefined && SETTLED.some((folder) => path.startsWith(folder))) return stored;
  try {
    const response = await fetch(request.url, { cache: "no-cache" });
    if (response.ok || stored === undefined) return response;
  } catch {
    // There is no network.
  }
  return stored ?? Response.error();
}

/** The response with the headers that let threads share memory. */
function isolated(response: Response): Response {
  if (response.type === "error") return response;
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
