/** The service worker, which keeps the page for when there is no network. */

/**
 * Installs it, and says when the page works without a network.
 *
 * @param here the address of the page's folder.
 * @param say is told what the user should know of it, in a few words.
 */
export async function keepOffline(here: string, say: (text: string) => void): Promise<void> {
  if (!("serviceWorker" in navigator) || !isSecureContext) return;
  try {
    const response = await fetch(new URL("files.json", here), { cache: "no-cache" });
    const { version } = (await response.json()) as { version: string };
    const worker = new URL("sw.js", here);
    worker.searchParams.set("version", version);
    await navigator.serviceWorker.register(worker, { scope: here });
    await navigator.serviceWorker.ready;
    say("Works offline.");
  } catch {
    // Without it the page needs its server, and works all the same.
  }
}
