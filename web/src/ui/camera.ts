/** The camera: a stream of frames, as fast as they are taken. */

/** Why there is no camera, in words, with what to do. */
export class CameraError extends Error {}

const LOST = "It was unplugged, or this page may not use it any more. Start it again, or choose images instead.";

const REASONS: Record<string, string> = {
  NotAllowedError: "The camera is blocked. Allow it for this page in your browser's address bar, then try again.",
  NotFoundError: "This device has no camera. You can drop, paste or choose images instead.",
  NotReadableError: "Another program uses the camera. Close it, then try again.",
  OverconstrainedError: "The camera cannot do what was asked of it. Try the other one.",
};

export class Camera {
  readonly video: HTMLVideoElement;
  private facing: "environment" | "user" = "environment";
  private stream: MediaStream | undefined;
  /** Starts and stops so far: what a start is given after a later one is let go at once. */
  private turn = 0;

  /** @param lost is told why, when the camera ends by itself. */
  constructor(private readonly lost: (why: string) => void) {
    this.video = document.createElement("video");
    this.video.muted = true;
    this.video.playsInline = true;
    this.video.className = "picture";
    this.video.setAttribute("aria-label", "The camera's picture");
  }

  get running(): boolean {
    return this.stream !== undefined;
  }

  /**
   * Starts the camera, unless it is stopped or started again while the user is still asked.
   *
   * @throws {CameraError} there is none, or it may not be used.
   */
  async start(): Promise<void> {
    this.stop();
    const { turn } = this;
    if (!isSecureContext || navigator.mediaDevices === undefined) {
      throw new CameraError("Browsers give the camera to pages from https:// or localhost only. You can choose images instead.");
    }
    try {
      const video = { facingMode: { ideal: this.facing }, width: { ideal: 1280 }, height: { ideal: 720 } };
      const stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
      if (turn !== this.turn) return release(stream);
      for (const track of stream.getTracks()) track.addEventListener("ended", () => this.end());
      this.stream = stream;
      this.video.srcObject = stream;
      await this.video.play();
    } catch (error) {
      if (turn !== this.turn) return;
      this.stop();
      const name = error instanceof DOMException ? error.name : "";
      throw new CameraError(REASONS[name] ?? `The camera does not start: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /** The other camera of a phone. */
  async flip(): Promise<void> {
    this.facing = this.facing === "user" ? "environment" : "user";
    await this.start();
  }

  stop(): void {
    this.turn += 1;
    release(this.stream);
    this.stream = undefined;
    this.video.srcObject = null;
  }

  private end(): void {
    this.stop();
    this.lost(LOST);
  }

  /** What it shows now; undefined before the first frame. */
  async frame(): Promise<ImageBitmap | undefined> {
    if (this.video.videoWidth === 0) return undefined;
    return createImageBitmap(this.video);
  }
}

function release(stream: MediaStream | undefined): void {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

/** Whether there may be a second camera. */
export async function severalCameras(): Promise<boolean> {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return devices.filter(({ kind }) => kind === "videoinput").length > 1;
}
