// Strategies: the list, and the editor that builds rules from menus.

import { $, fill, h } from "../core/dom.js";
import { api } from "../core/api.js";
import { ngettext, t } from "../core/i18n.js";
import { live } from "../core/live.js";
import { Panel, resource } from "../components/panel.js";
import { clearProblems, onSubmit, segmented } from "../components/form.js";
import { RuleEditor } from "../components/ruleeditor.js";
import { RuleWords } from "../components/rulewords.js";
import { ask } from "../components/dialog.js";
import { toast } from "../components/toast.js";

const EMPTY = { id: null, name: "", description: "", direction: "long", buy_groups: [], sell_groups: [], is_builtin: false, edited: false, used_by: [] };

const listPanel = new Panel("#list", { empty: { text: t("No strategy yet."), action: { label: t("New strategy"), onclick: () => startNew() } } });
const editorPanel = new Panel("#editor");
const form = $("#strategy-form");
const title = $("#editor-title");

let words = null;
let sides = null;
let stored = null; // as it was read; null until something is open
let direction = "long";

const directionWords = () => ({ long: t("Long only"), short: t("Short only"), both: t("Long and short") });
const directionButtons = segmented($("#direction"), Object.entries(directionWords()).map(([value, label]) => ({ value, label })), direction, (value) => {
  direction = value;
  changed();
});

// -- the draft ----------------------------------------------------------------------------------

const draft = () => ({
  name: form.elements.name.value.trim(), description: form.elements.description.value.trim(), direction,
  buy_groups: sides.buy.groups, sell_groups: sides.sell.groups,
});
const rulesOf = ({ name, description, direction: way, buy_groups: buy, sell_groups: sell }) => JSON.stringify({ name, description, direction: way, buy_groups: buy, sell_groups: sell });
const isDirty = () => stored !== null && rulesOf(draft()) !== rulesOf(stored);

function changed() {
  const now = draft();
  const does = words.sides(direction);
  sides.buy.legend(t("Buy: %(does)s", { does: does.buy }));
  sides.sell.legend(t("Sell: %(does)s", { does: does.sell }));
  fill($("#in-words"), words.summary(now));
  const dirty = isDirty();
  $("#strategy-revert").hidden = !dirty || stored.id === null;
  $("#strategy-save").disabled = !dirty;
  $("#strategy-state").textContent = dirty ? t("Not saved yet") : "";
}

function show(strategy) {
  stored = structuredClone(strategy);
  clearProblems(form);
  form.elements.name.value = strategy.name;
  form.elements.name.readOnly = strategy.is_builtin;
  form.elements.name.title = strategy.is_builtin ? t("A built-in strategy keeps its name") : "";
  form.elements.description.value = strategy.description;
  direction = strategy.direction;
  directionButtons.set(direction);
  sides.buy.set(strategy.buy_groups);
  sides.sell.set(strategy.sell_groups);
  fill(title, strategy.id === null ? t("New strategy") : strategy.name);
  fill($("#strategy-save"), strategy.id === null ? t("Create strategy") : t("Save changes"));
  drawChips();
  drawActions();
  changed();
  editorPanel.ready();
  drawList();
  history.replaceState(null, "", strategy.id === null ? "/strategies?new=1" : `/strategies?id=${strategy.id}`);
}

const badge = (text, look, hint = null) => h("span", { class: `chip ${look}`, title: hint }, text);
const badges = (one) => [
  badge(directionWords()[one.direction], "is-quiet"),
  one.is_builtin ? badge(one.edited ? t("built-in, edited") : t("built-in"), "is-accent") : null,
];

function drawChips() {
  const users = stored.used_by;
  fill($("#strategy-chips"), stored.id === null ? badge(t("not saved"), "is-warn") : badges(stored).slice(1),
    users.length ? badge(t("used by %(names)s", { names: users.join(", ") }), "is-quiet", t("Models that follow it go by changed rules from their next bar on")) : null);
}

function drawActions() {
  if (stored.id === null) {
    fill($("#strategy-actions"), strategies.data?.length ? h("button", { type: "button", class: "btn btn-plain btn-sm", onclick: () => leave(() => show(strategies.data[0])) }, t("Discard")) : null);
    return;
  }
  fill($("#strategy-actions"),
    h("a", { class: "btn btn-plain btn-sm", href: `/backtest?strategy=${stored.id}` }, t("Backtest this")),
    h("button", { type: "button", class: "btn btn-plain btn-sm", onclick: duplicate }, t("Duplicate")),
    stored.is_builtin ? null : h("button", { type: "button", class: "btn btn-risky btn-sm", onclick: remove }, t("Delete")));
}

async function leave(next) {
  const sure = !isDirty() || (await ask({ title: t("Leave without saving?"), text: t("What you changed here has not been saved and will be lost."), confirm: t("Leave"), risky: true }));
  if (sure) next();
}

function startNew() {
  leave(() => {
    show(EMPTY);
    form.elements.name.focus();
  });
}

function duplicate() {
  const names = new Set(strategies.data.map((one) => one.name));
  let name = t("%(name)s (copy)", { name: stored.name });
  for (let n = 2; names.has(name); n += 1) name = t("%(name)s (copy %(n)s)", { name: stored.name, n });
  show({ ...EMPTY, ...draft(), name: "" });
  form.elements.name.value = name.slice(0, form.elements.name.maxLength);
  changed();
  form.elements.name.focus();
  form.elements.name.select();
}

async function remove() {
  const name = stored.name;
  const text = stored.used_by.length
    ? [t("It is used by %(names)s; while it is, it cannot be deleted.", { names: stored.used_by.join(", ") })]
    : [t("Its rules are deleted and cannot be brought back."), t("Backtests that were run with it keep their reports.")];
  const sure = await ask({ title: t("Delete the strategy %(name)s?", { name }), text, confirm: t("Delete strategy"), risky: true });
  if (!sure) return;
  try {
    await api.del(`/api/strategies/${stored.id}`);
    toast(t("The strategy %(name)s is deleted.", { name }));
    stored = null;
    await strategies.refresh();
  } catch (error) {
    if (error.name !== "ApiError") throw error;
    toast(error.message, "bad");
  }
}

onSubmit(form, async () => {
  const body = draft();
  try {
    const saved = stored.id === null ? await api.post("/api/strategies", body) : await api.put(`/api/strategies/${stored.id}`, body);
    toast(t("The strategy %(name)s is saved.", { name: saved.name }));
    stored = null;
    await strategies.refresh();
    show(saved);
  } catch (error) {
    showWhere(error);
  }
});

// The message repeats the path that the field already is; what is wrong with a whole group is said at its first menu.
function showWhere(error) {
  if (error.name === "ApiError" && error.field) {
    const field = error.field;
    if (error.message.startsWith(`${field}: `)) error.message = error.message.slice(field.length + 2);
    if (!form.elements.namedItem(field)) {
      const names = [...form.elements].map((control) => control.name).filter(Boolean);
      const parts = field.split(".");
      for (let n = parts.length; n > 0; n -= 1) {
        const path = parts.slice(0, n).join(".");
        const near = names.find((name) => name === path || name.startsWith(`${path}.`));
        if (near) {
          error.field = near;
          break;
        }
      }
    }
  }
  throw error;
}

$("#new-strategy").addEventListener("click", startNew);
$("#strategy-revert").addEventListener("click", () => show(stored));
form.addEventListener("input", (event) => {
  if (event.target.name === "name" || event.target.name === "description") changed();
});
window.addEventListener("beforeunload", (event) => {
  if (isDirty()) event.preventDefault();
});

// -- the list -----------------------------------------------------------------------------------

function drawList() {
  const focused = document.activeElement?.closest?.("#strategy-list") ? document.activeElement.dataset.id : null;
  fill($("#strategy-list"), (strategies.data ?? []).map((one) => h("li", null, h("button", {
    type: "button", class: "strategy-item", dataset: { id: one.id }, "aria-current": stored?.id === one.id ? "true" : null,
    onclick: () => stored?.id !== one.id && leave(() => show(one)),
  },
  h("span", { class: "name clip" }, one.name),
  h("span", { class: "chips" }, badges(one), one.used_by.length ? badge(ngettext("%(num)s model", "%(num)s models", one.used_by.length), "", t("used by %(names)s", { names: one.used_by.join(", ") })) : null),
  one.description ? h("span", { class: "about" }, one.description) : null))));
  if (focused) $(`#strategy-list [data-id="${focused}"]`)?.focus();
}

const strategies = resource({
  panels: [listPanel],
  read: async (signal) => {
    const [rows, schema] = await Promise.all([api.get("/api/strategies", null, { signal }), words ? null : api.get("/api/strategies/schema", null, { signal })]);
    if (schema) words = new RuleWords(schema);
    return rows;
  },
  source: () => ({ source: t("Strategies of this workspace") }),
  paint: (rows) => {
    sides ??= { buy: new RuleEditor($("#buy-side"), { side: "buy", words, onChange: changed }), sell: new RuleEditor($("#sell-side"), { side: "sell", words, onChange: changed }) };
    drawList();
    if (!rows.length) listPanel.empty();
    if (stored !== null) return; // never under the fingers of somebody who edits
    const asked = new URLSearchParams(location.search);
    if (asked.has("new") || !rows.length) show(EMPTY);
    else show(rows.find((one) => one.id === Number(asked.get("id"))) ?? rows[0]);
  },
});

strategies.refresh();
live.subscribe({ channels: ["status"] });
