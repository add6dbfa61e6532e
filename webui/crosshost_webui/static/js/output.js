// SPDX-License-Identifier: GPL-3.0-or-later
// The output of a run: a window of some thousand lines on a file of any size. The server cuts it into lines, looks for texts and
// turns terminal colours into classes; here is nothing but elements and text.

const WINDOW = 2000; // lines in the page
const PART = 500; // lines of one request
const AROUND = 40; // lines before one that was jumped to
const card = document.getElementById("output");
const log = card.querySelector("[data-log]");
const follow = card.querySelector("[data-follow]");
const earlier = card.querySelector("[data-earlier]");
const later = card.querySelector("[data-later]");
const found = card.querySelector("[data-found]");
const base = `/api/v1/runs/${document.getElementById("run").dataset.run}/output`;
let begin = Number(card.dataset.begin);
let end = Number(card.dataset.end);
let size = Number(card.dataset.size);
let busy = false;

function lineOf(line) {
  const row = document.createElement("div");
  row.className = "line";
  row.dataset.offset = String(line.offset);
  row.dataset.number = String(line.number);
  for (const span of line.spans) {
    const piece = document.createElement("span");
    if (span.classes) piece.className = span.classes;
    piece.textContent = span.text;
    row.append(piece);
  }
  if (line.more) {
    const more = document.createElement("span");
    more.className = "ansi-dim";
    more.textContent = ` … ${line.more} more bytes`;
    row.append(more);
  }
  return row;
}

async function ask(path, parameters) {
  const answer = await fetch(`${base}/${path}?${new URLSearchParams(parameters)}`);
  if (!answer.ok) throw new Error((await answer.json()).detail);
  return answer.json();
}

const toBottom = () => { log.scrollTop = log.scrollHeight; };
const offsetOf = (row) => Number(row.dataset.offset);

function showEdges() {
  earlier.parentElement.hidden = begin <= 0;
  later.parentElement.hidden = end >= size;
  card.querySelector("[data-nothing]")?.toggleAttribute("hidden", size > 0);
}

function append(part) {
  const last = log.lastElementChild;
  // the last line may have been half of one
  if (last && part.lines.length && part.lines[0].offset === offsetOf(last)) last.remove();
  log.append(...part.lines.map(lineOf));
  while (log.childElementCount > WINDOW) log.firstElementChild.remove();
  if (log.firstElementChild) begin = offsetOf(log.firstElementChild);
  end = part.end;
  size = part.size;
}

function prepend(part) {
  const height = log.scrollHeight;
  log.prepend(...part.lines.map(lineOf));
  log.scrollTop += log.scrollHeight - height;
  while (log.childElementCount > WINDOW) {
    end = offsetOf(log.lastElementChild);
    log.lastElementChild.remove();
  }
  begin = part.begin;
  size = part.size;
}

async function alone(action) {
  if (busy) return;
  busy = true;
  try {
    await action();
  } catch (error) {
    tell(error.message);
  } finally {
    busy = false;
    showEdges();
  }
}

function tell(text) {
  const words = document.createElement("p");
  words.textContent = text;
  found.replaceChildren(words);
  found.hidden = false;
}

async function forward() {
  append(await ask("lines", { after: String(end), limit: String(PART) }));
}

async function back() {
  if (begin > 0) prepend(await ask("lines", { before: String(begin), limit: String(PART) }));
}

async function toEnd() {
  const part = await ask("lines", { limit: String(PART) });
  log.replaceChildren();
  begin = part.begin;
  append(part);
  toBottom();
}

async function toOffset(offset) {
  const before = offset > 0 ? await ask("lines", { before: String(offset), limit: String(AROUND) }) : null;
  const part = await ask("lines", { after: String(offset), limit: String(PART) });
  log.replaceChildren();
  begin = part.begin;
  append(part);
  if (before) prepend(before);
  const row = log.querySelector(`[data-offset="${offset}"]`);
  for (const one of log.querySelectorAll(".is-found")) one.classList.remove("is-found");
  row?.classList.add("is-found");
  log.scrollTop = row ? row.offsetTop - log.offsetTop - log.clientHeight / 3 : 0;
}

async function search(text, after) {
  const answer = await ask("search", { q: text, after: String(after) });
  if (!after) found.replaceChildren();
  found.querySelector("[data-go-on]")?.remove();
  for (const line of answer.lines) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `${line.number}  ${line.spans.map((span) => span.text).join("")}`;
    button.addEventListener("click", () => {
      follow.checked = false;
      alone(() => toOffset(line.offset));
    });
    found.append(button);
  }
  if (answer.next !== null) {
    const more = document.createElement("button");
    more.type = "button";
    more.dataset.goOn = "";
    more.textContent = "Look further";
    more.addEventListener("click", () => alone(() => search(text, answer.next)));
    found.append(more);
  } else if (!found.childElementCount) {
    tell("It is not in the output.");
  }
  found.hidden = false;
}

document.addEventListener("run:output", (event) => {
  size = Math.max(size, event.detail);
  if (!follow.checked) {
    showEdges();
    return;
  }
  alone(async () => {
    while (follow.checked && end < size) {
      const before = end;
      await forward();
      if (end === before) break;
      toBottom();
    }
  });
});

earlier.addEventListener("click", (event) => {
  event.preventDefault();
  alone(back);
});
later.addEventListener("click", (event) => {
  event.preventDefault();
  alone(forward);
});
log.addEventListener("scroll", () => {
  if (log.scrollTop < 40 && begin > 0) alone(back);
  if (follow.checked && log.scrollHeight - log.scrollTop - log.clientHeight > 120) follow.checked = false;
});
follow.addEventListener("change", () => {
  if (follow.checked) alone(toEnd);
});
card.addEventListener("click", (event) => {
  const jump = event.target.closest("[data-jump]")?.dataset.jump;
  if (!jump) return;
  follow.checked = false;
  alone(jump === "begin" ? () => toOffset(0) : toEnd);
});
card.querySelector("[data-search]").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = new FormData(event.target).get("q").trim();
  if (text) alone(() => search(text, 0));
});

toBottom();
