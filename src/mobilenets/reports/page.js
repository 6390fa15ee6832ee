"use strict";

// Tables sort by a column when its head is selected: numbers as numbers, words as words, again for the other direction.
function number(text) {
  const value = parseFloat(text.replace(/[,%\s]/g, ""));
  return Number.isNaN(value) ? -Infinity : value;
}
function sort(head) {
  const table = head.closest("table"), column = head.cellIndex, numeric = head.classList.contains("number");
  const falling = head.getAttribute("aria-sort") !== (numeric ? "descending" : "ascending") ? numeric : !numeric;
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => {
    const [x, y] = [a, b].map((row) => row.cells[column].textContent.trim());
    const order = numeric ? number(x) - number(y) : x.localeCompare(y, undefined, { numeric: true });
    return falling ? -order : order;
  });
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", falling ? "descending" : "ascending");
  table.tBodies[0].append(...rows);
}
for (const head of document.querySelectorAll("table.sortable th")) {
  head.tabIndex = 0;
  head.addEventListener("click", () => sort(head));
  head.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(head); }
  });
}

// Images to look at sort by a line below them, or by their names.
for (const gallery of document.querySelectorAll("main > .mistakes")) {
  const figures = [...gallery.children], lines = [...gallery.querySelectorAll("figure:first-child dt")].map((line) => line.textContent);
  if (figures.length < 3) continue;
  const select = document.createElement("select"), label = document.createElement("label");
  select.append(...["as listed", ...lines, "name"].map((word) => new Option(word)));
  label.className = "sort quiet";
  label.append("Sort by ", select);
  gallery.before(label);
  const text = (figure) => {
    const place = select.selectedIndex - 1;
    return (place < lines.length ? figure.querySelectorAll("dd")[place] : figure.querySelector(".file")).textContent.trim();
  };
  select.addEventListener("change", () => {
    const sorted = [...figures];
    if (select.selectedIndex) sorted.sort((a, b) => text(a).localeCompare(text(b), undefined, { numeric: true }));
    gallery.append(...sorted);
  });
}

// A cell of a matrix is drawn as two links, its color and its number: one of them is for the keyboard, with a name.
const named = new Set();
for (const link of document.querySelectorAll("svg a[href^='#']")) {
  const cell = document.getElementById(link.getAttribute("href").slice(1));
  if (!cell) continue;
  if (named.has(cell)) {
    link.setAttribute("tabindex", "-1");
    link.setAttribute("aria-hidden", "true");
  }
  named.add(cell);
  link.setAttribute("aria-label", [...cell.querySelectorAll("h3, h3 + *")].map((line) => line.textContent).join(": "));
}

// Images and plots open large. Select again to zoom in at that place, scroll to zoom, arrows for the next one, Escape to close.
const dialog = document.getElementById("zoom"), stage = dialog.querySelector(".stage"), caption = dialog.querySelector("p");
const items = [...document.querySelectorAll("[data-zoom]")];
let current = 0, scale = 1;
function zoom(factor, event) {
  const content = stage.firstElementChild, box = content.getBoundingClientRect();
  const x = event ? (event.clientX - box.left) / box.width : 0.5, y = event ? (event.clientY - box.top) / box.height : 0.5;
  scale = Math.min(8, Math.max(1, factor));
  content.style.width = `${scale * 100}%`;
  content.style.height = scale === 1 ? "100%" : `${scale * 100}%`;
  stage.scrollLeft = x * content.offsetWidth - stage.clientWidth / 2;
  stage.scrollTop = y * content.offsetHeight - stage.clientHeight / 2;
  stage.classList.toggle("near", scale > 1);
}
function open(index) {
  current = (index + items.length) % items.length;
  const copy = items[current].cloneNode(true);
  for (const name of ["role", "tabindex", "aria-label"]) copy.removeAttribute(name);
  copy.querySelector(".enlarge")?.remove();
  stage.replaceChildren(copy);
  caption.textContent = items[current].dataset.zoom;
  zoom(1);
  if (!dialog.open) dialog.showModal();
}
items.forEach((item, index) => {
  item.addEventListener("click", (event) => { if (!event.target.closest("a")) open(index); });
  const button = item.tagName === "IMG" ? item : document.createElement("button");
  if (button !== item) {
    button.className = "enlarge";
    button.textContent = "Enlarge";
    button.addEventListener("click", () => open(index));
    item.closest(".card").prepend(button);
  } else {
    item.tabIndex = 0;
    item.setAttribute("role", "button");
    item.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(index); }
    });
  }
  button.setAttribute("aria-label", `Enlarge ${item.dataset.zoom}`);
});
stage.addEventListener("click", (event) => { event.preventDefault(); zoom(scale === 1 ? 2.5 : 1, event); });
stage.addEventListener("wheel", (event) => { event.preventDefault(); zoom(scale * (event.deltaY < 0 ? 1.2 : 1 / 1.2), event); }, { passive: false });
dialog.querySelector("button").addEventListener("click", () => dialog.close());
dialog.addEventListener("keydown", (event) => {
  if (event.key === "ArrowRight") open(current + 1);
  if (event.key === "ArrowLeft") open(current - 1);
});

// What is wider than its card scrolls by keyboard too.
function reach() {
  for (const part of document.querySelectorAll(".scroll")) {
    if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
    else part.removeAttribute("tabindex");
  }
}
reach();
addEventListener("resize", reach);

// On paper everything is open, and afterwards as it was.
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const part of closed) part.open = true;
});
addEventListener("afterprint", () => {
  for (const part of closed) part.open = false;
});
