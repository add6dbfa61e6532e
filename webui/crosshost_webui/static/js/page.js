// SPDX-License-Identifier: GPL-3.0-or-later
// What every page does: tell that the server is away, copy a text, add and remove rows of a form, close menus.

const problems = () => document.getElementById("problems");

function tell(text) {
  const place = problems();
  if (!place) return;
  const note = document.createElement("div");
  note.className = "note tone-failed";
  const words = document.createElement("p");
  words.textContent = text;
  note.append(words);
  place.replaceChildren(note);
}

document.addEventListener("htmx:sendError", () => tell("The server does not answer. What is shown may be old; the page tries again."));
document.addEventListener("htmx:timeout", () => tell("The server takes too long to answer. Try again."));
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful) problems()?.replaceChildren();
});

document.addEventListener("click", async (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    await navigator.clipboard.writeText(document.getElementById(copy.dataset.copy).textContent.trim());
    copy.textContent = "Copied";
    return;
  }
  const add = event.target.closest("[data-add-row]");
  if (add) {
    const rows = document.getElementById(add.dataset.addRow);
    const made = rows.querySelector("template").content.cloneNode(true);
    const number = Number(rows.dataset.next);
    rows.dataset.next = String(number + 1);
    for (const one of made.querySelectorAll("[id], [name], [for], [aria-describedby]")) {
      for (const name of ["id", "name", "for", "aria-describedby"]) {
        if (one.hasAttribute(name)) one.setAttribute(name, one.getAttribute(name).replaceAll("ROW", String(number)));
      }
    }
    const first = made.querySelector("input, select");
    rows.append(made);
    first?.focus();
    return;
  }
  const remove = event.target.closest("[data-remove-row]");
  if (remove) {
    const rows = remove.closest("[data-next]");
    remove.closest("[data-row]").remove();
    (rows.querySelector("input, select") ?? rows.parentElement.querySelector("[data-add-row]"))?.focus();
  }
});

// Forms that depend on a choice show the parts of that choice.
function showParts(select) {
  for (const part of document.querySelectorAll(`[data-part-of="${select.id}"]`)) {
    const hidden = !part.dataset.values.split(" ").includes(select.value);
    part.hidden = hidden;
    for (const one of part.querySelectorAll("input, select, textarea")) one.disabled = hidden;
  }
}
for (const select of document.querySelectorAll("select[data-parts]")) {
  showParts(select);
  select.addEventListener("change", () => showParts(select));
}
