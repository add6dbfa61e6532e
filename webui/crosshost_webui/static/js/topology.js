// SPDX-License-Identifier: GPL-3.0-or-later
// Makes the picture larger and smaller. It is drawn by the server; its place scrolls.

const STEP = 1.25;
const LEAST = 0.25;
const MOST = 4;
const place = document.querySelector("[data-picture]");
const picture = place?.querySelector("svg");
const width = Number(picture?.getAttribute("width"));
const height = Number(picture?.getAttribute("height"));
let scale = 1;

function show(next) {
  const middle = (place.scrollLeft + place.clientWidth / 2) / scale;
  scale = Math.min(MOST, Math.max(LEAST, next));
  picture.setAttribute("width", String(Math.round(width * scale)));
  picture.setAttribute("height", String(Math.round(height * scale)));
  place.scrollLeft = middle * scale - place.clientWidth / 2;
}

const fitting = () => Math.min(1, place.clientWidth / width);

if (picture) {
  document.addEventListener("click", (event) => {
    const wanted = event.target.closest("[data-zoom]")?.dataset.zoom;
    if (wanted === "in") show(scale * STEP);
    if (wanted === "out") show(scale / STEP);
    if (wanted === "fit") show(fitting());
  });
  place.addEventListener("keydown", (event) => {
    if (event.target !== place) return;
    if (event.key === "+") show(scale * STEP);
    if (event.key === "-") show(scale / STEP);
    if (event.key === "0") show(1);
  });
  place.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    show(event.deltaY < 0 ? scale * STEP : scale / STEP);
  }, { passive: false });
  // on a small screen names would be too small to read: it scrolls there
  if (place.clientWidth > 700) show(fitting());
}
