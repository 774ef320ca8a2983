// The dashboard: painted from the server's first numbers, then kept live by pushes and readings.

import { $, fill, h, pageData } from "../core/dom.js";
import { api } from "../core/api.js";
import { coinColor, modelColor, swatch } from "../core/colors.js";
import { change, direction, int, kindText, money, num, percent, pnl, price, ratio, signedMoney, signedPercent, sourceText } from "../core/format.js";
import { ngettext, t } from "../core/i18n.js";
import { live } from "../core/live.js";
import { marketSpeed } from "../core/clock.js";
import { Panel, resource } from "../components/panel.js";
import { DataTable } from "../components/table.js";
import { Doughnut, TimeChart, meter } from "../components/chart.js";
import { segmented } from "../components/form.js";
import { coinCell, decisionColumns, decisionDetails, modelCell, positionColumns, statusChip, tradeColumns } from "../components/columns.js";

const EQUITY_POINTS = 600;
const READ_EVERY_MS = 15_000;
const KEPT_ROWS = 30;

const newModel = { label: t("Create a model"), href: "/models#new" };
const panels = {
  equity: new Panel("#equity", { empty: { text: t("No model has an account yet. Create one, and its equity is drawn here."), action: newModel } }),
  distribution: new Panel("#distribution", { empty: { text: t("No position is open. Models open one when their rules give a signal."), action: { label: t("Look at the models"), href: "/models" } } }),
  leaderboard: new Panel("#leaderboard", { empty: { text: t("No model trades yet."), action: newModel } }),
  performance: new Panel("#performance", { empty: { text: t("No price is known yet."), action: { label: t("Look at the coins"), href: "/coins" } } }),
  positions: new Panel("#positions", { empty: { text: t("No position is open. Models open one when their rules give a signal."), action: { label: t("Look at the models"), href: "/models" } } }),
  trades: new Panel("#trades", { empty: { text: t("No trade yet. The first fill of any model appears here by itself."), action: { label: t("Look at the models"), href: "/models" } } }),
  decisions: new Panel("#decisions", { empty: { text: t("No decision yet. A model decides when a candle closes."), action: { label: t("Look at the models"), href: "/models" } } }),
};

const models = new Map();
const tables = {};
let chart = null;
let ring = null;
let unit = "value";
let state = null; // the last overview, corrected by pushes

function makeTables() {
  tables.leaderboard = new DataTable($("#leaderboard-table"), {
    caption: t("Leaderboard"), patch: true, sort: { key: "return_percentage", dir: "desc" },
    columns: [
      { key: "name", label: t("Model"), cell: (row) => modelCell(row.id, row.name) },
      { key: "status", label: t("Status"), cell: (row) => statusChip(row.status) },
      { key: "kind", label: t("Kind"), cell: (row) => kindText(row.kind) },
      { key: "total_value", label: t("Value"), align: "n", flash: true, cell: (row) => money(row.total_value) },
      { key: "return_percentage", label: t("Return"), align: "n", cell: (row) => change(row.return_percentage) },
      { key: "pnl_today", label: t("Today"), align: "n", cell: (row) => pnl(row.pnl_today) },
      { key: "max_drawdown", label: t("Drawdown"), align: "n", hint: t("Deepest fall from a peak of equity"), cell: (row) => percent(row.max_drawdown) },
      { key: "sharpe", label: t("Sharpe"), align: "n", cell: (row) => ratio(row.sharpe) },
      { key: "trades", label: t("Closed"), align: "n", hint: t("Closed trades"), cell: (row) => int(row.trades) },
      { key: "fees", label: t("Fees"), align: "n", cell: (row) => money(row.fees) },
    ],
  });
  tables.performance = new DataTable($("#performance-table"), {
    caption: t("Coin performance"), patch: true, rowKey: (row) => row.symbol, sort: { key: "change_percent_24h", dir: "desc" }, tall: true,
    columns: [
      { key: "symbol", label: t("Coin"), rest: true, cell: (row) => [coinCell(row.symbol), " ", h("span", { class: "quiet" }, row.name)] },
      { key: "price", label: t("Price"), align: "n", flash: true, cell: (row) => price(row.price, row.symbol) },
      { key: "change_percent_24h", label: t("24 h"), align: "n", cell: (row) => change(row.change_percent_24h) },
      { key: "range", label: t("Day's range"), sort: false, value: (row) => place(row), cell: (row) => (place(row) === null ? "–" : meter(place(row))) },
    ],
  });
  tables.positions = new DataTable($("#positions-table"), {
    caption: t("Open positions"), patch: true, rowKey: (row) => `${row.model_id} ${row.coin}`, columns: positionColumns({ models }),
  });
  tables.trades = new DataTable($("#trades-table"), { caption: t("Latest trades"), patch: true, columns: tradeColumns({ models, short: true }), tall: true, rowKey: (row) => `${row.model_id} ${row.id}` });
  tables.decisions = new DataTable($("#decisions-table"), { caption: t("Latest decisions"), patch: true, columns: decisionColumns({ models }), tall: true, expand: decisionDetails });
}

const place = (row) => (row.high_24h > row.low_24h ? (row.price - row.low_24h) / (row.high_24h - row.low_24h) : null);

function paintTotals(totals) {
  const put = (id, text, look) => {
    const cell = $(`#${id}`);
    cell.textContent = text;
    if (look !== undefined) cell.className = `num ${look}`;
  };
  const any = totals.models > 0;
  put("total-value", any ? money(totals.total_value) : "–");
  put("total-value-hint", any ? t("started with %(capital)s", { capital: money(totals.initial_capital) }) : t("no model yet"));
  put("total-return", signedPercent(totals.return_percentage), direction(totals.return_percentage));
  put("total-return-hint", any ? signedMoney(totals.total_value - totals.initial_capital) : "");
  put("pnl-today", signedMoney(totals.pnl_today), direction(totals.pnl_today));
  put("pnl-today-hint", signedPercent(totals.pnl_today_percent));
  put("unrealized", any ? signedMoney(totals.unrealized_pnl) : "–", any ? direction(totals.unrealized_pnl) : "");
  put("unrealized-hint", ngettext("%(num)s open position", "%(num)s open positions", totals.positions));
  put("margin-used", any ? money(totals.margin_used) : "–");
  put("margin-used-hint", any && totals.total_value > 0 ? t("%(share)s of the value", { share: percent((totals.margin_used / totals.total_value) * 100, 1) }) : "");
  put("models-running", `${totals.running} / ${totals.models}`);
  put("models-running-hint", any ? t("paper accounts") : "");
}

function paintEquity() {
  chart ??= new TimeChart($("#equity-chart"), { label: t("Equity of each model over time"), format: (x) => (unit === "value" ? money(x) : signedPercent(x)), axisFormat: (x) => (unit === "value" ? num(x, 0) : signedPercent(x, Math.abs(x) < 1 ? 2 : 1)) });
  const lines = state.models.map((model) => [model, curveOf(model)]).filter(([, points]) => points.length).map(([model, points]) => ({
    name: model.name, color: modelColor(model.id),
    points: unit === "value" ? points : points.map(([at, value]) => [at, (value / model.initial_capital - 1) * 100]),
  }));
  chart.set(lines);
}

// The overview carries the newest day or two of each curve; more is read on request.
const RANGES = { day: 86_400e3, week: 7 * 86_400e3, all: null };
const MOST_POINTS = 10_000;
let range = "day";
let longer = new Map(); // model id -> points before those of the overview

function curveOf(model) {
  const points = model.equity ?? [];
  const from = RANGES[range] === null ? -Infinity : state.now_ms - RANGES[range];
  const first = points[0]?.[0] ?? Infinity;
  const before = range === "day" ? [] : (longer.get(model.id) ?? []).filter(([at]) => at < first);
  return [...before, ...points].filter(([at]) => at >= from);
}

// The overview's points move on with time: what was read before ends further and further from their first.
let mending = false;
const isTorn = () => !mending && range !== "day" && state.models.some((model) => longer.get(model.id)?.at(-1)?.[0] < model.equity[0]?.[0]);

async function readLonger() {
  const asked = range;
  if (range !== "day") {
    const start = RANGES[range] ? Math.floor(state.now_ms - RANGES[range]) : null;
    const read = state.models.map(async (model) => [model.id, (await api.get(`/api/models/${model.id}/equity`, { limit: MOST_POINTS, start })).map((row) => [row.timestamp, row.equity])]);
    try {
      const found = new Map(await Promise.all(read));
      if (asked !== range) return; // another span was chosen meanwhile
      longer = found;
    } catch (error) {
      if (error.name !== "ApiError") throw error;
      panels.equity.stale(error.message);
    }
  }
  if (state.models.length) paintEquity();
}

function paintDistribution() {
  const byCoin = new Map();
  for (const row of state.positions) byCoin.set(row.coin, (byCoin.get(row.coin) ?? 0) + Math.max(0, row.value));
  const held = [...byCoin].map(([label, value]) => ({ label, value })).sort((a, b) => b.value - a.value);
  const cash = state.models.reduce((sum, model) => sum + model.cash, 0);
  const parts = [...held.map((part, index) => ({ ...part, color: coinColor(index) })), { label: t("Cash"), value: Math.max(0, cash), color: "#222c39" }];
  ring ??= new Doughnut($("#distribution-chart"), { label: t("Position distribution") });
  ring.set(parts);
  const total = parts.reduce((sum, part) => sum + part.value, 0);
  fill($("#distribution-list"), parts.map((part) => h("li", null, swatch(part.color), h("span", { class: "name clip" }, part.label),
    h("span", { class: "num" }, money(part.value)), h("span", { class: "num quiet share" }, percent(total ? (part.value / total) * 100 : null, 1)))));
}

function show(panel, rows, paint, source) {
  if (!rows.length) panels[panel].empty();
  else {
    panels[panel].ready(source);
    paint();
  }
}

function paint(overview, { flashNew = true } = {}) {
  const equity = new Map((state?.models ?? []).map((model) => [model.id, model.equity]));
  state = overview;
  // a reading without equity keeps the lines that are there
  for (const model of state.models) model.equity ??= equity.get(model.id) ?? [];
  models.clear();
  for (const model of state.models) models.set(model.id, model);
  const ledger = { source: t("Ledgers of the models (paper)"), simulated: false };
  const market = { source: sourceText(overview.price_source), simulated: overview.simulated, ageMs: (overview.price_age_ms ?? 0) / marketSpeed() };
  paintTotals(state.totals);
  show("equity", state.models, paintEquity, ledger);
  if (isTorn()) {
    mending = true;
    readLonger().finally(() => (mending = false));
  }
  show("distribution", state.positions, paintDistribution, market);
  show("leaderboard", state.models, () => tables.leaderboard.setRows(state.models), ledger);
  show("performance", state.coins, () => tables.performance.setRows(state.coins), market);
  show("positions", state.positions, () => tables.positions.setRows(state.positions), market);
  show("trades", state.trades, () => tables.trades.setRows(state.trades, { flashNew }), ledger);
  show("decisions", state.decisions, () => tables.decisions.setRows(state.decisions, { flashNew }), ledger);
  live.subscribe({ channels: ["price_update"], coins: [...new Set([...state.coins.map((coin) => coin.symbol), ...state.positions.map((row) => row.coin)])] });
}

// -- pushes -------------------------------------------------------------------------------------

let dirty = new Set();
let planned = false;
function repaintSoon(what) {
  dirty.add(what);
  if (planned) return;
  planned = true;
  // prices come many times a second: the eye needs two
  setTimeout(() => {
    planned = false;
    const now = dirty;
    dirty = new Set();
    if (now.has("prices")) {
      if (state.coins.length) tables.performance.setRows(state.coins, { keepOrder: true });
      if (state.positions.length) {
        tables.positions.setRows(state.positions, { keepOrder: true });
        paintDistribution();
      }
    }
    if (now.has("accounts")) {
      retotal();
      tables.leaderboard.setRows(state.models, { keepOrder: true });
      if (state.models.length) paintEquity();
    }
  }, 500);
}

function retotal() {
  const totals = state.totals;
  totals.unrealized_pnl = state.positions.reduce((sum, row) => sum + row.unrealized_pnl, 0);
  totals.margin_used = state.models.reduce((sum, model) => sum + model.margin_used, 0);
  const before = totals.total_value;
  totals.total_value = state.models.reduce((sum, model) => sum + model.total_value, 0);
  totals.return_percentage = totals.initial_capital ? (totals.total_value / totals.initial_capital - 1) * 100 : null;
  if (typeof totals.pnl_today === "number") {
    totals.pnl_today += totals.total_value - before;
    const atMidnight = totals.total_value - totals.pnl_today;
    totals.pnl_today_percent = atMidnight > 0 ? (totals.pnl_today / atMidnight) * 100 : null;
  }
  paintTotals(totals);
}

function onPrice(data) {
  if (!state) return;
  const coin = state.coins.find((one) => one.symbol === data.symbol);
  if (coin) {
    const dayAgo = coin.price / (1 + coin.change_percent_24h / 100);
    coin.price = data.price;
    if (Number.isFinite(dayAgo) && dayAgo > 0) coin.change_percent_24h = (data.price / dayAgo - 1) * 100;
  }
  for (const row of state.positions.filter((one) => one.coin === data.symbol)) {
    row.current_price = data.price;
    row.unrealized_pnl = (row.side === "short" ? -1 : 1) * row.quantity * (data.price - row.avg_price);
    row.value = row.margin + row.unrealized_pnl;
  }
  repaintSoon("prices");
}

function onAccount(data) {
  const model = models.get(data.model_id);
  if (!model || typeof data.total_value !== "number") return;
  Object.assign(model, Object.fromEntries(["total_value", "return_percentage", "cash", "margin_used", "unrealized_pnl"].filter((name) => typeof data[name] === "number").map((name) => [name, data[name]])));
  if (typeof data.return_percentage !== "number" && model.initial_capital) model.return_percentage = (model.total_value / model.initial_capital - 1) * 100;
  const at = data.timestamp ?? overview.data?.now_ms;
  const last = model.equity[model.equity.length - 1];
  if (typeof at === "number" && (!last || at > last[0])) {
    model.equity.push([at, data.total_value]);
    if (model.equity.length > EQUITY_POINTS * 2) model.equity = model.equity.filter((_point, index) => index % 2 === 0 || index > EQUITY_POINTS);
  }
  repaintSoon("accounts");
}

function addRow(panel, row) {
  if (!state) return;
  const rows = state[panel];
  if (rows.some((one) => one.id === row.id && one.model_id === row.model_id)) return;
  rows.unshift(row);
  rows.length = Math.min(rows.length, KEPT_ROWS);
  if (panels[panel].state !== "stale") panels[panel].ready({ source: t("Ledgers of the models (paper)") });
  tables[panel].setRows(rows, { flashNew: true });
}

const overview = resource({
  panels: Object.values(panels),
  read: (signal) => api.get("/api/overview", { equity: EQUITY_POINTS }, { signal }),
  paint,
  every: READ_EVERY_MS,
  gap: 700,
});

makeTables();
const rangeBox = h("div", { "aria-label": t("Span") });
const unitBox = h("div", { "aria-label": t("Unit") });
fill($("#equity .panel-tools"), rangeBox, unitBox);
segmented(rangeBox, [{ value: "day", label: t("1 day") }, { value: "week", label: t("1 week") }, { value: "all", label: t("All") }], range, (value) => {
  range = value;
  longer = new Map();
  readLonger();
});
segmented(unitBox, [{ value: "value", label: t("Value") }, { value: "return", label: t("Return") }], unit, (value) => {
  unit = value;
  if (state?.models.length) paintEquity();
});

const first = pageData().overview;
if (first) {
  overview.data = first;
  paint(first, { flashNew: false });
} else overview.refresh();

live.on("price_update", onPrice);
live.on("account_update", onAccount);
live.on("model_changed", () => overview.hint());
live.on("position_update", () => overview.hint());
live.on("trade_executed", (row) => {
  if (row.id !== undefined && row.model_id !== undefined) addRow("trades", row);
  overview.hint();
});
live.on("ai_decision", (row) => {
  if (row.id !== undefined && row.model_id !== undefined && row.action !== "HOLD") addRow("decisions", row);
});
live.subscribe({ channels: ["price_update", "account_update", "position_update", "trade_executed", "ai_decision", "model_changed", "status"] });
