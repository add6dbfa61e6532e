// SPDX-License-Identifier: GPL-3.0-or-later
// Follows a run: the stream says what is new, by numbers, so that nothing is missed or doubled when the connection breaks.

const MARKS = { ok: "✓", changed: "±", failed: "✕", ignored: "~", unreachable: "?", skipped: "–" };
const COLUMNS_MOST = 24;
const run = document.getElementById("run");
const matrix = document.getElementById("matrix");
const live = document.getElementById("live");
let status = run.dataset.status;

function element(tag, attributes, text) {
  const found = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) found.setAttribute(name, value);
  if (text !== undefined) found.textContent = text;
  return found;
}

const columns = new Map();
const rows = new Map();
let lastPlay = "";
if (matrix) {
  for (const head of matrix.querySelectorAll("thead th[data-host]")) columns.set(head.dataset.host, columns.size + 1);
  for (const row of matrix.querySelectorAll("tbody tr[data-task]")) rows.set(row.dataset.task, row);
  for (const row of matrix.querySelectorAll("tbody tr.play")) lastPlay = row.dataset.play;
}

function addColumn(host) {
  if (matrix.dataset.more || matrix.dataset.trouble || columns.size >= COLUMNS_MOST) return false;
  const head = element("th", { scope: "col", "data-host": host });
  head.append(element("a", { href: `/hosts/${encodeURIComponent(host)}` }, host));
  matrix.tHead.rows[0].querySelector(".rest").before(head);
  columns.set(host, columns.size + 1);
  for (const row of rows.values()) row.querySelector(".rest").before(element("td", {}));
  return true;
}

function addRow(task) {
  if (rows.has(String(task.number))) return;
  const body = matrix.tBodies[0];
  if (task.play !== lastPlay) {
    lastPlay = task.play;
    const play = element("tr", { class: "play", "data-play": task.play });
    play.append(element("th", { scope: "colgroup", colspan: String(columns.size + 2) }, task.play));
    body.append(play);
  }
  const row = element("tr", { "data-task": String(task.number) });
  const head = element("th", { scope: "row" });
  head.append(element("span", { class: "task", title: task.action }, task.name || task.action));
  row.append(head);
  for (let n = 0; n < columns.size; n += 1) row.append(element("td", {}));
  row.append(element("td", { class: "rest" }));
  body.append(row);
  rows.set(String(task.number), row);
}

function setCell(result) {
  const row = rows.get(String(result.task));
  if (!row || result.item || (!columns.has(result.host) && !addColumn(result.host))) return;
  const link = element(
    "a",
    { class: `cell is-${result.status}`, href: `/runs/${run.dataset.run}/results/${result.seq}`, "aria-label": `${result.host}: ${result.status}` },
    MARKS[result.status] ?? "·",
  );
  row.cells[columns.get(result.host)].replaceChildren(link);
}

function setCounts(counts) {
  const tones = { ok: "ok", changed: "changed", failed: "failed", unreachable: "away", skipped: "idle" };
  for (const [name, number] of Object.entries(counts)) {
    const place = document.querySelector(`[data-count="${name}"]`);
    if (!place) continue;
    place.className = number ? `tone-${tones[name]}` : "none";
    place.querySelector("b").textContent = String(number);
  }
}

function follow() {
  const source = new EventSource(`/api/v1/runs/${run.dataset.run}/stream?after=${run.dataset.lastSeq}`);
  source.addEventListener("open", () => { live.textContent = "The page follows the run."; });
  source.addEventListener("error", () => { live.textContent = "The connection is lost; the page comes back by itself."; });
  source.addEventListener("results", (event) => {
    if (!matrix) return;
    const news = JSON.parse(event.data);
    news.tasks.forEach(addRow);
    news.results.forEach(setCell);
  });
  source.addEventListener("run", (event) => {
    const news = JSON.parse(event.data);
    setCounts(news.counts);
    if (news.status !== status) {
      status = news.status;
      window.htmx.trigger("#run-head", "refresh");
    }
    document.dispatchEvent(new CustomEvent("run:output", { detail: news.output_bytes }));
  });
  source.addEventListener("end", () => {
    source.close();
    live.textContent = "The run has ended.";
    window.htmx.trigger("#run-head", "refresh");
    document.dispatchEvent(new CustomEvent("run:end"));
  });
  // a stream that a page in the background keeps open is one less for the pages in front
  window.addEventListener("pagehide", () => source.close());
}

if (run.dataset.active) follow();
