// Coins: the catalogue as cards or a table, a form to add and edit, groups with their order.

import { $, debounce, fill, h } from "../core/dom.js";
import { api } from "../core/api.js";
import { DASH, change, compact, int, price, sourceText } from "../core/format.js";
import { ngettext, t } from "../core/i18n.js";
import { live } from "../core/live.js";
import { Panel, resource } from "../components/panel.js";
import { DataTable } from "../components/table.js";
import { Picker, coinItems } from "../components/picker.js";
import { fillForm, clearProblems, onSubmit, segmented } from "../components/form.js";
import { ask } from "../components/dialog.js";
import { toast } from "../components/toast.js";
import { coinCell } from "../components/columns.js";
import { makeTabs } from "../components/tabs.js";

const QUOTES_EVERY_MS = 5000;
const VIEW_KEY = "curlew.coins.view";
const CARDS_AT_ONCE = 60;

const filter = { q: "", category: "", active: "1" };
let view = localStorage.getItem(VIEW_KEY) === "table" ? "table" : "cards";
let quotes = new Map();
let cardLimit = CARDS_AT_ONCE;
let editing = null; // the coin in the form; null: a new one

const panel = new Panel("#coins", { empty: { text: t("No coin fits. Change the search, or add the coin yourself."), action: { label: t("Add a coin"), onclick: () => openEditor(null) } } });

// -- tools --------------------------------------------------------------------------------------

const search = h("input", { type: "search", class: "form-control form-control-sm", placeholder: t("Search symbol or name"), "aria-label": t("Search coins"), id: "coin-search" });
const categories = h("select", { class: "form-select form-select-sm", "aria-label": t("Category"), id: "coin-category" });
const active = h("select", { class: "form-select form-select-sm", "aria-label": t("Active or not"), id: "coin-active" },
  h("option", { value: "1" }, t("Active")), h("option", { value: "0" }, t("Inactive")), h("option", { value: "all" }, t("All")));
const viewBox = h("div", { "aria-label": t("View") });
fill($("#coins .panel-tools"), search, categories, active, viewBox);
segmented(viewBox, [{ value: "cards", label: t("Cards") }, { value: "table", label: t("Table") }], view, (value) => {
  view = value;
  localStorage.setItem(VIEW_KEY, value);
  table = null;
  if (coins.data) draw();
});
search.addEventListener("input", debounce(() => {
  filter.q = search.value.trim().toLowerCase();
  cardLimit = CARDS_AT_ONCE;
  if (coins.data) draw();
}, 120));
categories.addEventListener("change", () => {
  filter.category = categories.value;
  draw();
});
active.addEventListener("change", () => {
  filter.active = active.value;
  draw();
});

function drawCategories(rows) {
  const names = [...new Set(rows.map((coin) => coin.category).filter(Boolean))].sort();
  fill(categories, h("option", { value: "" }, t("All categories")), names.map((name) => h("option", { value: name, selected: name === filter.category }, name)));
  fill($("#categories"), names.map((name) => h("option", { value: name })));
}

const fits = (coin) => (filter.active === "all" || coin.is_active === (filter.active === "1")) && (!filter.category || coin.category === filter.category)
  && (!filter.q || coin.symbol.toLowerCase().includes(filter.q) || coin.name.toLowerCase().includes(filter.q));

// -- list ---------------------------------------------------------------------------------------

let table = null;

function actions(coin) {
  const named = { name: coin.symbol };
  return h("span", { class: "row-actions" },
    h("button", { type: "button", class: "btn btn-bare btn-sm", "aria-label": t("Edit %(name)s", named), onclick: () => openEditor(coin) }, t("Edit")),
    coin.is_active
      ? h("button", { type: "button", class: "btn btn-bare btn-sm", "aria-label": t("Deactivate %(name)s", named), onclick: () => deactivate(coin) }, t("Deactivate"))
      : h("button", { type: "button", class: "btn btn-bare btn-sm", "aria-label": t("Reactivate %(name)s", named), onclick: () => reactivate(coin) }, t("Reactivate")));
}

function card(coin) {
  const quote = quotes.get(coin.symbol);
  return h("li", { class: `coin-card${coin.is_active ? "" : " is-off"}`, dataset: { coin: coin.symbol } },
    h("div", { class: "head" }, coinCell(coin.symbol), h("span", { class: "name clip", title: coin.name }, coin.name), coin.market_cap_rank ? h("span", { class: "rank num", title: t("Rank by market capitalisation") }, `#${coin.market_cap_rank}`) : null),
    h("div", { class: "quote" }, h("span", { class: "price num" }, quote ? price(quote.price, coin.symbol) : DASH), quote ? change(quote.change_percent_24h) : null),
    h("div", { class: "foot" }, h("span", { class: "label clip" }, coin.category ?? ""), actions(coin)));
}

const columns = [
  { key: "market_cap_rank", label: t("Rank"), align: "n", cell: (coin) => int(coin.market_cap_rank) },
  { key: "symbol", label: t("Coin"), cell: (coin) => coinCell(coin.symbol) },
  { key: "name", label: t("Name") },
  { key: "category", label: t("Category") },
  { key: "price", label: t("Price"), align: "n", flash: true, value: (coin) => quotes.get(coin.symbol)?.price ?? null, cell: (coin) => price(quotes.get(coin.symbol)?.price, coin.symbol) },
  { key: "change", label: t("24 h"), align: "n", value: (coin) => quotes.get(coin.symbol)?.change_percent_24h ?? null, cell: (coin) => change(quotes.get(coin.symbol)?.change_percent_24h) },
  { key: "volume", label: t("24 h volume"), align: "n", value: (coin) => quotes.get(coin.symbol)?.volume_24h ?? null, cell: (coin) => compact(quotes.get(coin.symbol)?.volume_24h) },
  { key: "binance_symbol", label: t("Binance") },
  { key: "okx_symbol", label: t("OKX") },
  { key: "hyperliquid_symbol", label: t("Hyperliquid") },
  { key: "actions", label: "", aria: t("Actions"), align: "n", cell: actions },
];

function draw() {
  const rows = coins.data.filter(fits);
  $("#coins .note")?.remove();
  $("#coins h2").after(h("span", { class: "note" }, ngettext("%(num)s coin", "%(num)s coins", rows.length)));
  if (!rows.length) {
    fill($("#coins-view"));
    table = null;
    panel.empty();
    return;
  }
  panel.ready({ source: sources(), simulated: [...quotes.values()].some((quote) => quote.source === "simulated") });
  if (view === "table") {
    table ??= new DataTable($("#coins-view"), { caption: t("Coins"), columns, sort: { key: "market_cap_rank", dir: "asc" }, rowClass: (coin) => (coin.is_active ? null : "is-off") });
    table.setRows(rows);
    return;
  }
  const focused = document.activeElement?.closest?.(".coin-card") ? document.activeElement.getAttribute("aria-label") : null;
  fill($("#coins-view"), h("ul", { class: "cards plain" }, rows.slice(0, cardLimit).map(card)),
    rows.length > cardLimit ? h("div", { class: "table-more" }, h("button", { type: "button", class: "btn btn-plain btn-sm", onclick: () => {
      cardLimit = Infinity;
      draw();
    } }, t("Show all %(n)s", { n: rows.length }))) : null);
  if (focused) $(`#coins-view [aria-label="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

const sources = () => `${t("Catalogue of this workspace")}${quotes.size ? ` · ${t("prices:")} ${[...new Set([...quotes.values()].map((quote) => sourceText(quote.source)))].join(", ")}` : ""}`;

const coins = resource({
  panels: [panel],
  read: (signal) => api.get("/api/coins", { is_active: "all" }, { signal }),
  paint: (rows) => {
    drawCategories(rows);
    draw();
    groupPicker.setItems(coinItems(rows.filter((coin) => coin.is_active)));
  },
});

const ticker = resource({
  read: (signal) => api.get("/api/market/ticker", null, { signal }),
  paint: (rows) => {
    quotes = new Map(rows.map((quote) => [quote.symbol, quote]));
    if (coins.data && !$("#coins-tab").hidden) draw();
  },
  every: QUOTES_EVERY_MS,
});

// -- one coin -----------------------------------------------------------------------------------

const form = $("#coin-form");
let opener = null;

function openEditor(coin) {
  opener = document.activeElement;
  editing = coin;
  clearProblems(form);
  form.reset();
  form.elements.symbol.disabled = coin !== null;
  $("#coin-editor-title").textContent = coin ? t("Edit %(name)s", { name: coin.symbol }) : t("Add a coin");
  $("#coin-save").textContent = coin ? t("Save changes") : t("Add coin");
  if (coin) fillForm(form, { ...coin, tags: coin.tags.join(", ") });
  $("#coin-editor").hidden = false;
  form.elements[coin ? "name" : "symbol"].focus();
  $("#coin-editor").scrollIntoView({ block: "nearest" });
}

function closeEditor() {
  $("#coin-editor").hidden = true;
  const same = opener?.isConnected ? opener : $(`[aria-label="${CSS.escape(opener?.getAttribute?.("aria-label") ?? "")}"]`);
  (same ?? $("#add-coin")).focus();
}

onSubmit(form, async (values) => {
  const body = { ...values, notes: values.notes ?? "", tags: (values.tags ?? "").split(",").map((tag) => tag.trim()).filter(Boolean) };
  if (editing) {
    const saved = await api.put(`/api/coins/${editing.id}`, body);
    toast(t("%(name)s is saved.", { name: saved.symbol }));
  } else {
    const made = await api.post("/api/coins", body);
    toast(t("%(name)s is added; it can be put into the pool of any model.", { name: made.symbol }));
  }
  closeEditor();
  await coins.refresh();
  ticker.refresh();
});

$("#add-coin").addEventListener("click", () => {
  tabs.show("tab-coins");
  openEditor(null);
});
$("#coin-cancel").addEventListener("click", closeEditor);
$("#coin-editor").addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeEditor();
});

async function attempt(work, words) {
  try {
    await work();
    toast(words);
  } catch (error) {
    if (error.name !== "ApiError") throw error;
    toast(error.message, "bad");
  }
}

async function deactivate(coin) {
  const name = coin.symbol;
  const sure = await ask({
    title: t("Deactivate %(name)s?", { name }),
    text: [t("It leaves the lists and cannot be added to pools any more."), t("Candles, positions and trades of it stay, and you can reactivate it at any time.")],
    confirm: t("Deactivate"), risky: true,
  });
  if (!sure) return;
  await attempt(() => api.del(`/api/coins/${coin.id}`), t("%(name)s is deactivated.", { name }));
  coins.refresh();
}

async function reactivate(coin) {
  await attempt(() => api.put(`/api/coins/${coin.id}`, { is_active: true }), t("%(name)s is active again.", { name: coin.symbol }));
  coins.refresh();
}

// -- groups -------------------------------------------------------------------------------------

const groupForm = $("#group-form");
const groupPanel = new Panel("#groups", { empty: { text: t("No group yet. Give one a name and coins on the right.") } });
let group = null; // the group in the form; null: a new one
let order = [];

const groupPicker = new Picker($("#group-coins"), { labelledBy: "group-coins-label", multiple: true, placeholder: t("Search coins to add"), onChange: (symbols) => {
  order = symbols;
  drawOrder();
} });
groupForm.curlewFields = { coins: { get: () => order, set: (value) => setOrder(value), problem: (words) => groupPicker.problem(words) } };

function setOrder(symbols) {
  order = [...symbols];
  groupPicker.set(order);
  drawOrder();
}

function move(index, by) {
  const next = [...order];
  const [symbol] = next.splice(index, 1);
  next.splice(index + by, 0, symbol);
  setOrder(next);
  $(`#group-order li:nth-child(${index + by + 1}) [data-by="${by}"]:not([disabled])`)?.focus();
}

function drawOrder() {
  fill($("#group-order"), order.map((symbol, index) => h("li", null,
    h("span", { class: "place num" }, index + 1), h("span", { class: "grow clip" }, symbol),
    h("button", { type: "button", class: "btn btn-plain btn-sm", disabled: index === 0, dataset: { by: "-1" }, "aria-label": t("Move %(name)s up", { name: symbol }), onclick: () => move(index, -1) }, "↑"),
    h("button", { type: "button", class: "btn btn-plain btn-sm", disabled: index === order.length - 1, dataset: { by: "1" }, "aria-label": t("Move %(name)s down", { name: symbol }), onclick: () => move(index, 1) }, "↓"))));
}

const symbolsOf = (one) => one.coins.map((coin) => coin.symbol ?? coin);

function editGroup(one) {
  group = one;
  clearProblems(groupForm);
  groupForm.reset();
  $("#group-editor-title").textContent = one ? t("Edit the group %(name)s", { name: one.name }) : t("New group");
  $("#group-save").textContent = one ? t("Save changes") : t("Create group");
  $("#group-new").hidden = one === null;
  $("#group-delete").hidden = one === null;
  if (one) fillForm(groupForm, { name: one.name, description: one.description });
  setOrder(one ? symbolsOf(one) : []);
  groupsTable.draw();
}

const groupsTable = new DataTable($("#groups-table"), {
  caption: t("Groups"), rowClass: (one) => (one.id === group?.id ? "is-selected" : null),
  columns: [
    { key: "name", label: t("Name"), cell: (one) => h("button", { type: "button", class: "btn-link-quiet strong", onclick: () => {
      editGroup(one);
      $("#g-name").focus();
    } }, one.name) },
    { key: "count", label: t("Coins"), align: "n", value: (one) => one.coins.length },
    { key: "description", label: t("Description"), rest: true, sort: false, cell: (one) => one.description || symbolsOf(one).join(", ") },
  ],
});

const groups = resource({
  panels: [groupPanel],
  read: (signal) => api.get("/api/coin-groups", null, { signal }),
  isEmpty: (rows) => !rows.length,
  source: () => ({ source: t("Catalogue of this workspace") }),
  paint: (rows) => groupsTable.setRows(rows),
});

onSubmit(groupForm, async (values) => {
  const body = { name: values.name, description: values.description ?? "", coins: values.coins };
  const saved = group ? await api.put(`/api/coin-groups/${group.id}`, body) : await api.post("/api/coin-groups", body);
  toast(t("The group %(name)s is saved.", { name: saved.name }));
  await groups.refresh();
  editGroup(saved);
});
$("#group-new").addEventListener("click", () => {
  editGroup(null);
  $("#g-name").focus();
});
$("#group-delete").addEventListener("click", async () => {
  const name = group.name;
  const sure = await ask({ title: t("Delete the group %(name)s?", { name }), text: t("Its coins, and the pools they are in, stay as they are. The group itself cannot be brought back."), confirm: t("Delete group"), risky: true });
  if (!sure) return;
  await attempt(() => api.del(`/api/coin-groups/${group.id}`), t("The group %(name)s is deleted.", { name }));
  editGroup(null);
  groups.refresh();
});

const tabs = makeTabs($("[role=tablist]"));
coins.refresh();
ticker.refresh();
groups.refresh();
live.subscribe({ channels: ["status"] });
