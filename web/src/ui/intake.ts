/** How images come in: by choosing files or a folder, dropping, pasting. */

import { h } from "./dom";
import { icon, type IconName } from "./icons";

/** An image that came in. */
export interface Incoming {
  readonly file: File;
  /** Its name, with the folders that it was found in. */
  readonly path: string;
}

/** Takes images; the second is where on the page they were dropped, if they were. */
export type Take = (images: Incoming[], target?: EventTarget | null) => void;

/** What a user can choose instead of what is not an image. */
export const WORKS = "JPEG, PNG, WebP, GIF and BMP work in every browser.";

const ENDINGS = /\.(jpe?g|png|webp|gif|bmp|avif|hei[cf]|tiff?)$/i;

/** A button that opens the file dialog and hands over what is chosen. */
export function chooser(text: string, name: IconName, take: Take, folder = false): HTMLElement {
  const input = h("input", {
    type: "file",
    multiple: true,
    accept: folder ? undefined : "image/*",
    webkitdirectory: folder,
    class: "unseen",
    tabindex: -1,
    "aria-hidden": "true",
    change: () => {
      take(images([...(input.files ?? [])].map((file) => ({ file, path: file.webkitRelativePath || file.name }))));
      input.value = "";
    },
  });
  return h("span", { class: "chooser" }, h("button", { type: "button", click: () => input.click() }, icon(name), text), input);
}

/** Takes images that are dropped anywhere on the page, folders too, or pasted. */
export function listen(take: Take): void {
  const over = (event: DragEvent): void => {
    event.preventDefault();
    document.body.classList.toggle("dropping", event.type === "dragover");
  };
  const drop = (event: DragEvent): void => {
    over(event);
    if (event.dataTransfer !== null) void dropped(event.dataTransfer).then((images) => take(images, event.target));
  };
  const paste = (event: ClipboardEvent): void => {
    const pasted = images([...(event.clipboardData?.files ?? [])].map((file) => ({ file, path: file.name })));
    if (pasted.length > 0) take(pasted);
  };
  addEventListener("dragover", over);
  addEventListener("dragleave", over);
  addEventListener("drop", drop);
  addEventListener("paste", paste);
}

/** Those that may be images, in the order of their paths. Hidden files are none: "._1.jpg" is what macOS keeps of "1.jpg" elsewhere. */
export function images(files: readonly Incoming[]): Incoming[] {
  return files
    .filter(({ file }) => !file.name.startsWith(".") && (file.type.startsWith("image/") || ENDINGS.test(file.name)))
    .sort((a, b) => a.path.localeCompare(b.path, "en", { numeric: true }));
}

/** The name of the folder that an image was found in; "" where it came alone. */
export function folderOf({ path }: Incoming): string {
  return path.split("/").at(-2) ?? "";
}

/** The images in what was dropped, those in its folders too. */
async function dropped(transfer: DataTransfer): Promise<Incoming[]> {
  const entries = [...transfer.items].flatMap((item) => item.webkitGetAsEntry?.() ?? []);
  if (entries.length === 0) return images([...transfer.files].map((file) => ({ file, path: file.name })));
  return images((await Promise.all(entries.map(filesIn))).flat());
}

async function filesIn(entry: FileSystemEntry): Promise<Incoming[]> {
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
    return [{ file, path: entry.fullPath.slice(1) }];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const inside: FileSystemEntry[] = [];
  for (;;) {
    const more = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (more.length === 0) break;
    inside.push(...more);
  }
  return (await Promise.all(inside.map(filesIn))).flat();
}
