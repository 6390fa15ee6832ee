/** How images come in: by choosing files or a folder, dropping, pasting. */

import { h } from "./dom";
import { icon, type IconName } from "./icons";

const ENDINGS = /\.(jpe?g|png|webp|gif|bmp|avif|tiff?)$/i;

/** A button that opens the file dialog and hands over what is chosen. */
export function chooser(text: string, name: IconName, take: (files: File[]) => void, folder = false): HTMLElement {
  const input = h("input", {
    type: "file",
    multiple: true,
    accept: folder ? undefined : "image/*",
    webkitdirectory: folder,
    class: "unseen",
    tabindex: -1,
    "aria-hidden": "true",
    change: () => {
      take(images(input.files ?? []));
      input.value = "";
    },
  });
  return h("span", { class: "chooser" }, h("button", { type: "button", click: () => input.click() }, icon(name), text), input);
}

/** Takes images that are dropped anywhere on the page, folders too, or pasted. Returns what stops that. */
export function listen(take: (files: File[]) => void): () => void {
  const over = (event: DragEvent): void => {
    event.preventDefault();
    document.body.classList.toggle("dropping", event.type === "dragover");
  };
  const drop = (event: DragEvent): void => {
    over(event);
    if (event.dataTransfer !== null) void dropped(event.dataTransfer).then(take);
  };
  const paste = (event: ClipboardEvent): void => {
    const files = images(event.clipboardData?.files ?? []);
    if (files.length > 0) take(files);
  };
  addEventListener("dragover", over);
  addEventListener("dragleave", over);
  addEventListener("drop", drop);
  addEventListener("paste", paste);
  return () => {
    removeEventListener("dragover", over);
    removeEventListener("dragleave", over);
    removeEventListener("drop", drop);
    removeEventListener("paste", paste);
  };
}

/** Those that may be images, in the order of their paths. */
export function images(files: Iterable<File>): File[] {
  return [...files]
    .filter(({ type, name }) => type.startsWith("image/") || ENDINGS.test(name))
    .sort((a, b) => pathOf(a).localeCompare(pathOf(b), "en", { numeric: true }));
}

/** The path of a file within the folder that was chosen, or its name. */
export function pathOf(file: File): string {
  return file.webkitRelativePath || file.name;
}

/** The images in what was dropped, those in its folders too. */
export async function dropped(transfer: DataTransfer): Promise<File[]> {
  const entries = [...transfer.items].flatMap((item) => item.webkitGetAsEntry?.() ?? []);
  if (entries.length === 0) return images(transfer.files);
  return images((await Promise.all(entries.map(filesIn))).flat());
}

async function filesIn(entry: FileSystemEntry): Promise<File[]> {
  if (entry.isFile) return [await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject))];
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const inside: FileSystemEntry[] = [];
  for (;;) {
    const more = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (more.length === 0) break;
    inside.push(...more);
  }
  return (await Promise.all(inside.map(filesIn))).flat();
}
