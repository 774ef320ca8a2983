// A question that is asked once, in words that say what will happen.
//
//   if (await ask({ title, text: [words, ...], confirm: t("Delete model"), risky: true })) ...
// The browser's own <dialog>: Escape cancels, focus stays inside and goes back to where it was.

import { $, h } from "../core/dom.js";
import { t } from "../core/i18n.js";

export function ask({ title, text, confirm, cancel = t("Cancel"), risky = false }) {
  const before = document.activeElement;
  const lines = Array.isArray(text) ? text : [text];
  return new Promise((resolve) => {
    const yes = h("button", { type: "button", class: `btn ${risky ? "btn-risky" : "btn-primary"}`, onclick: () => dialog.close("yes") }, confirm);
    const no = h("button", { type: "button", class: "btn btn-plain", onclick: () => dialog.close("no") }, cancel);
    const dialog = h("dialog", { class: "ask", "aria-labelledby": "ask-title", "aria-describedby": "ask-text" },
      h("h2", { id: "ask-title" }, title),
      h("div", { class: "text", id: "ask-text" }, lines.map((line) => h("p", null, line))),
      h("div", { class: "buttons" }, no, yes));
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
      resolve(dialog.returnValue === "yes");
    });
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close("no"); // the backdrop
    });
    $("body").append(dialog);
    dialog.showModal();
    (risky ? no : yes).focus();
  });
}
