// Short notes at the corner, read aloud politely; and banners across the page for what stays true.
//
//   toast(t("Saved."))  toast(words, "good" | "bad")
//   banner("connection", words | node, { look: "warn" | "error" | "info" })   banner("connection", null) removes it

import { $, fill, h } from "../core/dom.js";
import { t } from "../core/i18n.js";

const STAY_MS = { good: 5000, info: 5000, bad: 12_000 };

export function toast(words, look = "good") {
  const box = $("#toasts");
  const note = h("div", { class: `toast-note is-${look}`, role: look === "bad" ? "alert" : "status" },
    h("div", { class: "text" }, words),
    h("button", { type: "button", class: "btn-close btn-sm", "aria-label": t("Close"), onclick: () => note.remove() }));
  box.append(note);
  while (box.children.length > 4) box.firstElementChild.remove();
  setTimeout(() => note.remove(), STAY_MS[look] ?? 5000);
}

export function banner(key, content, { look = "warn", actions = [] } = {}) {
  const box = $("#banners");
  let line = box.querySelector(`[data-banner="${CSS.escape(key)}"]`);
  if (!content) {
    line?.remove();
    return;
  }
  if (!line) {
    line = h("div", { dataset: { banner: key }, role: "status" });
    box.append(line);
  }
  line.className = `banner${look === "warn" ? "" : ` is-${look}`}`;
  fill(line, h("span", null, content), ...actions);
}
