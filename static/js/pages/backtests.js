// Backtests: the form, which offers only what is stored, and the list of runs.

import { $, fill, h, pageData } from "../core/dom.js";
import { api } from "../core/api.js";
import { change, day, int, num, percent, time } from "../core/format.js";
import { ngettext, t } from "../core/i18n.js";
import { live } from "../core/live.js";
import { Panel, resource } from "../components/panel.js";
import { DataTable } from "../components/table.js";
import { Picker } from "../components/picker.js";
import { onSubmit } from "../components/form.js";
import { isOver, runStatus } from "../components/backtestcells.js";
import { ask } from "../components/dialog.js";
import { toast } from "../components/toast.js";

const DAY_MS = 86_400_000;
const LOOK_AGAIN_MS = 3000;
const MOST_COMPARED = 6;
const asked = new URLSearchParams(location.search);

// -- the form -----------------------------------------------------------------------------------

const formPanel = new Panel("#form-panel", {
  empty: { text: t("No candles are stored yet. Import some on the Data page, or with: flask candles import PATH"), action: { label: t("Import candles"), href: "/data" } },
});
const form = $("#backtest-form");
const field = (name) => form.elements.namedItem(name);

let series = [];
let models = [];
const picker = new Picker($("#coins"), { labelledBy: "coins-label", multiple: true, placeholder: t("Search coins that have candles"), onChange: () => showPresets() });
const startedFrom = { request: null, rules: null }; // a run whose settings the form begins with
let isSpanChosen = false; // by somebody; until then the span follows the coins
form.curlewFields = { coins: picker.field };

const unique = (values) => [...new Set(values)];
const here = () => series.filter((one) => `${one.venue} ${one.market}` === field("place").value && one.interval === field("interval").value);
const chosenModel = () => (field("trader").value.startsWith("model:") ? models.find((one) => `model:${one.id}` === field("trader").value) : null);

function options(select, choices, wanted) {
  fill(select, choices.map(({ value, label }) => h("option", { value }, label)));
  const found = choices.find((choice) => choice.value === wanted) ?? choices[0];
  if (found) select.value = found.value;
}

const STEP = { m: 1, h: 60, d: 1440, w: 10_080 };
const minutes = (interval) => parseInt(interval, 10) * STEP[interval.at(-1)];

function showPlaces() {
  const places = unique(series.map((one) => `${one.venue} ${one.market}`)).sort();
  options(field("place"), places.map((value) => ({ value, label: `${value} (${ngettext("%(num)s series", "%(num)s series", series.filter((one) => `${one.venue} ${one.market}` === value).length)})` })), asked.get("place") ?? "binance spot");
  showIntervals();
}

function showIntervals(wanted = null) {
  const stored = unique(series.filter((one) => `${one.venue} ${one.market}` === field("place").value).map((one) => one.interval)).sort((a, b) => minutes(a) - minutes(b));
  options(field("interval"), stored.map((value) => ({ value, label: value })), wanted ?? (field("interval").value || "1h"));
  showCoins();
}

const utcDay = (text) => (/^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : null);
const spanOf = () => ({ from: utcDay(field("start_date").value), to: utcDay(field("end_date").value) });
const reaches = (one, { from, to }) => (from === null || one.last >= from) && (to === null || one.first < to + DAY_MS);

function showCoins() {
  const found = here();
  const kept = picker.value.filter((coin) => found.some((one) => one.coin === coin));
  picker.set(kept.length ? kept : found.some((one) => one.coin === "BTC") ? ["BTC"] : found.slice(0, 1).map((one) => one.coin));
  const finer = unique(series.filter((one) => `${one.venue} ${one.market}` === field("place").value && minutes(one.interval) < minutes(field("interval").value) && minutes(field("interval").value) % minutes(one.interval) === 0).map((one) => one.interval));
  options(field("detail_interval"), [{ value: "", label: t("no finer candles") }, ...finer.sort((a, b) => minutes(a) - minutes(b)).map((value) => ({ value, label: value }))], field("detail_interval").value);
  showPresets();
}

// What the picker offers: coins with candles in the span; where none is chosen yet, every coin that is stored.
function offerCoins() {
  const span = spanOf();
  const found = here();
  const inSpan = found.filter((one) => reaches(one, span));
  picker.setItems(inSpan.map((one) => ({
    value: one.coin, symbol: one.coin, name: one.name === one.coin ? one.symbol : one.name,
    tail: `${day(one.first)} – ${day(one.last)}${one.gaps ? `, ${ngettext("%(num)s gap", "%(num)s gaps", one.gaps)}` : ""}`,
  })));
  const outside = picker.value.filter((coin) => !inSpan.some((one) => one.coin === coin));
  const left = found.length - inSpan.length;
  const words = $("#coins-words");
  words.classList.toggle("warn", outside.length > 0);
  fill(words, outside.length ? t("%(coins)s: no candles in this span. Choose another span, or remove them.", { coins: outside.join(", ") })
    : [ngettext("%(num)s coin has candles in this span", "%(num)s coins have candles in this span", inSpan.length), left ? ngettext("; %(num)s more outside of it", "; %(num)s more outside of it", left) : ""]);
  for (const button of $("#presets").children) button.setAttribute("aria-pressed", String(button.dataset.span === `${field("start_date").value} ${field("end_date").value}`));
}

// Spans that the chosen coins have in common.
function showPresets() {
  const chosen = here().filter((one) => picker.value.includes(one.coin));
  const box = $("#presets");
  if (!chosen.length) {
    fill(box, h("span", { class: "quiet" }, t("Choose a coin to see them.")));
    offerCoins();
    return;
  }
  const first = Math.max(...chosen.map((one) => one.first));
  const last = Math.min(...chosen.map((one) => one.last));
  if (last < first) {
    fill(box, h("span", { class: "quiet" }, t("The chosen coins have no span in common.")));
    offerCoins();
    return;
  }
  const recent = [[t("Last month"), 30], [t("Last quarter"), 91], [t("Last year"), 365], [t("Last 5 years"), 1826]];
  const choices = [[t("Everything"), first, last], ...recent.filter(([, days]) => last - days * DAY_MS > first).map(([label, days]) => [label, last - (days - 1) * DAY_MS, last])];
  for (let year = new Date(last).getUTCFullYear(); year >= new Date(first).getUTCFullYear(); year -= 1) {
    const [start, end] = [Date.UTC(year, 0, 1), Date.UTC(year, 11, 31)];
    if (start >= first - DAY_MS && end <= last) choices.push([String(year), start, end]);
  }
  fill(box, choices.map(([label, from, to]) => h("button", { type: "button", class: "btn btn-plain btn-sm", title: `${day(from)} – ${day(to)}`, dataset: { span: `${day(from)} ${day(to)}` }, onclick: () => chooseSpan(from, to) }, label)));
  if (!isSpanChosen || !field("start_date").value || !field("end_date").value) setSpan(Math.max(first, last - 364 * DAY_MS), last);
  else offerCoins();
}

function chooseSpan(from, to) {
  isSpanChosen = true;
  setSpan(from, to);
}

function setSpan(from, to) {
  field("start_date").value = day(from);
  field("end_date").value = day(to);
  offerCoins();
}

function showTraders(strategies) {
  const groups = [[t("Strategies"), strategies.map((one) => ({ value: `strategy:${one.id}`, label: one.name }))], [t("Models, with their limits"), models.map((one) => ({ value: `model:${one.id}`, label: one.name }))]];
  fill(field("trader"), groups.filter(([, list]) => list.length).map(([label, list]) => h("optgroup", { label }, list.map((one) => h("option", { value: one.value }, one.label)))));
  const before = startedFrom.request;
  const known = strategies.some((one) => one.id === before?.strategy_id);
  if (startedFrom.rules && !before.model_id && !known) {
    field("trader").prepend(h("option", { value: "rules:0" }, t("%(name)s (rules of run %(id)s)", { name: startedFrom.rules.name, id: asked.get("from") })));
    field("trader").value = "rules:0";
    return;
  }
  const wanted = before?.strategy_id ? `strategy:${before.strategy_id}` : before?.model_id ? `model:${before.model_id}` : asked.get("strategy") ? `strategy:${asked.get("strategy")}` : asked.get("model") ? `model:${asked.get("model")}` : null;
  if (wanted && [...field("trader").options].some((option) => option.value === wanted)) field("trader").value = wanted;
}

// What a model brings itself is shown, not asked for; what was typed for a strategy comes back with it.
const BROUGHT = ["initial_capital", "leverage", "fee_percent", "slippage_bps", "position_size_percent", "fill_price", "detail_interval"];
const typed = new Map();

function showModel() {
  const model = chosenModel();
  for (const name of BROUGHT) {
    const input = field(name);
    if (model && !input.disabled) typed.set(name, input.value);
    if (!model && input.disabled) input.value = typed.get(name) ?? input.value;
    input.disabled = model !== null;
  }
  if (model) {
    const brought = { initial_capital: model.initial_capital, leverage: model.leverage, fee_percent: inPercent(model.trade_fee_rate), slippage_bps: model.slippage_bps, position_size_percent: "", fill_price: "next_open", detail_interval: "" };
    for (const [name, value] of Object.entries(brought)) field(name).value = value ?? "";
    showPool(model);
  }
  $("#model-note").hidden = model === null;
  showOptimism();
}

function showPool(model) {
  if ([...field("interval").options].some((option) => option.value === model.interval)) field("interval").value = model.interval;
  const stored = new Set(here().map((one) => one.coin));
  const pool = model.coins.map((coin) => coin.symbol ?? coin);
  const missing = pool.filter((coin) => !stored.has(coin));
  if (missing.length < pool.length) picker.set(pool.filter((coin) => stored.has(coin)));
  fill($("#model-missing"), missing.length ? t("No candles of its coins %(coins)s are stored here.", { coins: missing.join(", ") }) : "");
  showCoins();
}

function showOptimism() {
  $("#optimistic-note").hidden = field("fill_price").disabled || field("fill_price").value === "next_open";
}

// The request of an earlier run, put back into the form.
function fillFrom(request) {
  isSpanChosen = true;
  const values = { ...request, fee_percent: inPercent(request.trade_fee_rate), maker_fee_percent: inPercent(request.maker_fee_rate), maintenance_margin_percent: inPercent(request.maintenance_margin_rate) };
  if (request.venue && request.market) options(field("place"), [...field("place").options].map(({ value, label }) => ({ value, label })), `${request.venue} ${request.market}`);
  showIntervals(request.interval);
  for (const [name, value] of Object.entries(values)) {
    const input = field(name);
    if (!input || name === "interval" || name === "place" || value === null || value === undefined) continue;
    input.value = typeof value === "number" && name.endsWith("_date") ? day(value) : String(value);
  }
  if (request.coins) picker.set(request.coins);
  showPresets();
}

const rate = (share) => (share === null || share === undefined ? null : Math.round(share * 1e10) / 1e12);
const inPercent = (share) => (share === null || share === undefined ? null : Math.round(share * 1e12) / 1e10);

function bodyOf(values) {
  const [kind, id] = String(values.trader ?? "").split(":");
  const [venue, market] = String(values.place ?? "").split(" ");
  const trader = kind === "rules" ? { strategy: startedFrom.rules } : { [kind === "model" ? "model_id" : "strategy_id"]: Number(id) };
  const body = {
    ...trader, coins: picker.value, venue, market, interval: values.interval,
    start_date: values.start_date, end_date: values.end_date, initial_capital: values.initial_capital, leverage: values.leverage,
    trade_fee_rate: rate(values.fee_percent), maker_fee_rate: rate(values.maker_fee_percent), slippage_bps: values.slippage_bps,
    position_size_percent: values.position_size_percent, fill_price: values.fill_price, stop_loss_percent: values.stop_loss_percent,
    take_profit_percent: values.take_profit_percent, trailing_stop_percent: values.trailing_stop_percent,
    maintenance_margin_rate: rate(values.maintenance_margin_percent), funding: values.funding, detail_interval: values.detail_interval,
  };
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null && value !== undefined));
}

// The API speaks of rates and ids, the form of percent and names.
const SHOWN_AS = { trade_fee_rate: "fee_percent", maker_fee_rate: "maker_fee_percent", maintenance_margin_rate: "maintenance_margin_percent", strategy_id: "trader", model_id: "trader", venue: "place", market: "place" };

onSubmit(form, async (values) => {
  try {
    const started = await api.post("/api/backtest/run", bodyOf(values));
    location.assign(`/backtest/${started.id}`);
  } catch (error) {
    if (error.field && SHOWN_AS[error.field]) error.field = SHOWN_AS[error.field];
    throw error;
  }
});
field("place").addEventListener("change", () => showIntervals());
field("interval").addEventListener("change", showCoins);
field("trader").addEventListener("change", showModel);
field("fill_price").addEventListener("change", showOptimism);
for (const name of ["start_date", "end_date"]) {
  field(name).addEventListener("change", () => {
    isSpanChosen = true;
    offerCoins();
  });
}

function earlier() {
  const id = asked.get("from");
  const found = id && pageData().runs.find((run) => String(run.id) === id);
  return found ?? null;
}

resource({
  panels: [formPanel],
  read: async () => {
    const [stored, strategies, all, before] = await Promise.all([api.get("/api/backtest/coins"), api.get("/api/strategies"), api.get("/api/models"), earlier()]);
    startedFrom.request ??= before?.request ?? null;
    startedFrom.rules ??= before?.request.strategy ?? before?.settings?.strategy ?? null;
    return { stored, strategies, models: all.filter((one) => ["rules", "hold"].includes(one.kind)) };
  },
  isEmpty: (found) => !found.stored.length,
  paint: (found) => {
    if (series.length) return; // never under the fingers of somebody who fills it in
    series = found.stored;
    models = found.models;
    showTraders(found.strategies);
    showPlaces();
    showModel();
    if (startedFrom.request) {
      fillFrom(startedFrom.request);
      fill($("#form-words"), t("Filled in from run %(id)s.", { id: asked.get("from") }));
    }
    showOptimism();
  },
}).refresh();

// -- the list -----------------------------------------------------------------------------------

const runsPanel = new Panel("#runs", { empty: { text: t("No run yet. Fill in the form above and press Run backtest.") } });
const chosen = new Set();
const compare = $("#compare");

function showCompare() {
  const tooMany = chosen.size > MOST_COMPARED;
  compare.disabled = chosen.size < 2 || tooMany;
  fill(compare, tooMany ? t("Compare: %(n)s at most", { n: MOST_COMPARED }) : chosen.size < 2 ? t("Compare: choose two or more") : ngettext("Compare %(num)s run", "Compare %(num)s runs", chosen.size));
}
compare.addEventListener("click", () => location.assign(`/backtest/compare?ids=${[...chosen].sort((a, b) => a - b).join(",")}`));
showCompare();

async function remove(run) {
  const over = isOver(run);
  const sure = !over || (await ask({ title: t("Delete this run?"), text: [t("Its report, trades and equity curve are deleted. It can be run again from the same settings.")], confirm: t("Delete run"), risky: true }));
  if (!sure) return;
  try {
    await api.del(`/api/backtests/${run.id}`);
    chosen.delete(run.id);
    showCompare();
  } catch (error) {
    toast(error.message, "bad");
  }
  runs.refresh();
}

const figure = (key) => (row) => row.summary?.[key] ?? null;

const table = new DataTable($("#runs-table"), {
  caption: t("Backtest runs"), stack: true,
  columns: [
    { key: "pick", label: "", aria: t("Choose"), cell: (row) => (row.status === "done" ? h("input", { type: "checkbox", class: "form-check-input", checked: chosen.has(row.id), "aria-label": t("Choose %(name)s for comparison", { name: row.name }), onchange: (event) => {
      if (event.target.checked) chosen.add(row.id);
      else chosen.delete(row.id);
      showCompare();
    } }) : "") },
    { key: "name", label: t("Run"), cell: (row) => h("a", { class: "strong bright", href: row.url }, row.name) },
    { key: "status", label: t("Status"), cell: runStatus },
    { key: "span", label: t("Span"), value: (row) => row.settings?.start_ms ?? 0, cell: (row) => (row.settings ? `${row.settings.interval}, ${day(row.settings.start_ms)} – ${day(row.settings.end_ms - 1)}${row.settings.leverage > 1 ? `, ${num(row.settings.leverage, 1, 0)}×` : ""}` : "–") },
    { key: "return_percentage", label: t("Return"), align: "n", value: figure("return_percentage"), cell: (row) => change(figure("return_percentage")(row)) },
    { key: "max_drawdown", label: t("Drawdown"), align: "n", value: figure("max_drawdown"), cell: (row) => percent(figure("max_drawdown")(row)) },
    { key: "sharpe_ratio", label: t("Sharpe"), align: "n", value: figure("sharpe_ratio"), cell: (row) => num(figure("sharpe_ratio")(row)) },
    { key: "total_trades", label: t("Trades"), align: "n", value: figure("total_trades"), cell: (row) => int(figure("total_trades")(row)) },
    { key: "created", label: t("Started"), cell: (row) => time(row.created, { date: "auto" }) },
    { key: "actions", label: "", aria: t("Actions"), align: "n", cell: (row) => h("button", { type: "button", class: `btn btn-sm ${isOver(row) ? "btn-risky" : "btn-plain"}`, onclick: () => remove(row) }, isOver(row) ? t("Delete") : t("Cancel")) },
  ],
});

let lookAgain = null;

const runs = resource({
  panels: [runsPanel],
  read: (signal) => api.get("/api/backtests", null, { signal }),
  isEmpty: (found) => !found.length,
  source: () => ({ source: t("Runs of this workspace") }),
  paint: (found) => {
    table.setRows(found);
    clearTimeout(lookAgain);
    // An answer may be older than the push that came before it: what seems to go on is looked at again.
    if (found.some((one) => !isOver(one))) lookAgain = setTimeout(() => runs.refresh(), LOOK_AGAIN_MS);
  },
});
runs.show(pageData().runs);

live.on("backtest_progress", (push) => {
  const row = runs.data?.find((one) => one.id === push.id);
  if (row) {
    Object.assign(row, push);
    table.setRows(runs.data);
  }
  if (!row || isOver(push)) runs.hint();
});
live.subscribe({ channels: ["backtest_progress", "status"] });
