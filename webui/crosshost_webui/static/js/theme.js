// SPDX-License-Identifier: GPL-3.0-or-later
// The theme, before anything is drawn: the one chosen here, or the system's. Not a module, for modules run too late.
(() => {
  "use strict";
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try {
      return localStorage.getItem("xh-theme");
    } catch {
      return null; // storage is closed to this page: the system's theme it is
    }
  };
  const apply = () => {
    root.dataset.bsTheme = chosen() ?? (dark.matches ? "dark" : "light");
  };
  apply();
  dark.addEventListener("change", apply);
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-toggle]")) return;
    const next = root.dataset.bsTheme === "dark" ? "light" : "dark";
    root.dataset.bsTheme = next;
    try {
      localStorage.setItem("xh-theme", next);
    } catch {
      // it holds for this page only
    }
  });
})();
