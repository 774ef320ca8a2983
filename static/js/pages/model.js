// One model: its portfolio, what it holds, did and decided, its pool, and what can be done with it.

import { $, fill, h, pageData } from "../core/dom.js";
import { api } from "../core/api.js";
import { modelColor } from "../core/colors.js";
import { direction, duration, int, kindText, money, num, percent, pnl, price, quantity, reasonText, sideChip, signedMoney, signedPercent, sourceText } from "../core/format.js";
import { ngettext, t } from "../core/i18n.js";
import { live } from "../core/live.js";
import { marketNow } from "../core/clock.js";
import { Panel, resource } from "../components/panel.js";
import { DataTable } from "../components/table.js";
import { TimeChart } from "../components/chart.js";
import { ModelForm } from "../components/modelform.js";
import { Picker, coinItems } from "../components/picker.js";
import { checkNode, segmented } from "../components/form.js";
import { deleteModel, setStatus } from "../components/modelactions.js";
import { coinCell, decisionColumns, decisionDetails, outcomeChip, positionColumns, statusChip, tradeColumns } from "../components/columns.js";
import { toast } from "../components/toast.js";
import { actionChip } from "../core/format.js";

const data = pageData();
let model = data.model;
const url = `/api/models/${model.id}`;
const color = modelColor(model.id);
const POINTS = 1000;
const ROWS = 200;
const DECISIONS = 1000;

const ledger = () => ({ source: t("Ledger of this model (paper)") });
const prices = () => ({ source: `${t("Ledger of this model (paper)")} · ${t("prices:")} ${data.shell.simulated ? sourceText("simulated") : data.shell.market}`, simulated: data.shell.simulated });

const panels = {
  equity: new Panel("#equity", { empty: { text: t("The account is snapshotted every five minutes of the market's clock; the first points appear here by themselves.") } }),
  settings: new Panel("#settings"),
  positions: new Panel("#positions", { empty: { text: t("No position is open. It opens one when its strategy gives a signal."), action: { label: t("Run one cycle now"), onclick: () => $("#run-now").click() } } }),
  pool: new Panel("#pool"),
  trades: new Panel("#trades", { empty: { text: t("No trade yet. Each fill appears here by itself."), action: { label: t("Run one cycle now"), onclick: () => $("#run-now").click() } } }),
  decisions: new Panel("#decisions", { empty: { text: t("No decision yet. It decides when a candle closes."), action: { label: t("Run one cycle now"), onclick: () => $("#run-now").click() } } }),
};

$("#model-swatch").style.backgroundColor = color;

// -- portfolio ----------------------------------------------------------------------------------

function put(id, text, look = null, hint = null) {
  const cell = $(`#${id}`);
  cell.textContent = text;
  if (look !== null) cell.className = `num ${look}`;
  if (hint !== null) $(`#${id}-hint`).textContent = hint;
}

function paintPortfolio(portfolio) {
  put("p-total", money(portfolio.total_value), null, t("started with %(capital)s", { capital: money(portfolio.initial_capital) }));
  put("p-return", signedPercent(portfolio.return_percentage), direction(portfolio.return_percentage), signedMoney(portfolio.total_value - portfolio.initial_capital));
  put("p-cash", money(portfolio.cash), null, t("margin used %(margin)s", { margin: money(portfolio.margin_used) }));
  put("p-positions", money(portfolio.positions_value), null, ngettext("%(num)s open", "%(num)s open", portfolio.positions.length));
  put("p-realized", signedMoney(portfolio.realized_pnl), direction(portfolio.realized_pnl), t("net of fees and funding"));
  put("p-unrealized", signedMoney(portfolio.unrealized_pnl), direction(portfolio.unrealized_pnl));
  put("p-fees", money(portfolio.total_fees), null, typeof portfolio.total_funding === "number" ? t("funding %(sum)s", { sum: signedMoney(portfolio.total_funding) }) : "");
}

const positionsTable = new DataTable($("#positions-table"), { caption: t("Open positions"), patch: true, rowKey: (row) => row.coin, columns: positionColumns() });

const portfolio = resource({
  panels: [panels.positions],
  read: (signal) => api.get(`${url}/portfolio`, null, { signal }),
  isEmpty: (found) => {
    paintPortfolio(found);
    if (equity.data?.length) drawEquity(equity.data);
    return !found.positions.length;
  },
  source: prices,
  paint: (found) => {
    positionsTable.setRows(found.positions);
    live.subscribe({ coins: found.positions.map((row) => row.coin) });
  },
  every: 5000,
});

// -- equity -------------------------------------------------------------------------------------

const RANGES = [["day", t("1 day"), 86_400e3], ["week", t("1 week"), 7 * 86_400e3], ["all", t("All"), null]];
let range = "all";
let chart = null;

// Snapshots are minutes apart: the line ends where the account is now, or the two would disagree.
function drawEquity(rows) {
  const now = portfolio.data;
  const points = rows.map((row) => [row.timestamp, row.equity]);
  if (now && now.timestamp > points[points.length - 1][0]) points.push([now.timestamp, now.total_value]);
  chart ??= new TimeChart($("#equity-chart"), { label: t("Equity over time"), legend: false });
  chart.set([{ name: model.name, color, points, area: true, areaTo: "start" }]);
}

const equity = resource({
  panels: [panels.equity],
  read: (signal) => {
    const span = RANGES.find(([name]) => name === range)[2];
    return api.get(`${url}/equity`, { limit: POINTS, start: span ? Math.floor(marketNow() - span) : null }, { signal });
  },
  isEmpty: (rows) => !rows.length,
  source: ledger,
  paint: drawEquity,
  every: 30_000,
});
segmented($("#equity .panel-tools"), RANGES.map(([value, label]) => ({ value, label })), range, (value) => {
  range = value;
  equity.refresh();
});

// -- trades and decisions -----------------------------------------------------------------------

const tradesTable = new DataTable($("#trades-table"), { caption: t("Trades"), patch: true, tall: true, columns: [...tradeColumns(), {
  key: "chart", label: "", aria: t("On the chart"), cell: (row) => h("a", { class: "btn btn-bare btn-sm", href: chartAddress(row), "aria-label": t("Show on the chart") }, t("Chart")),
}] });
const chartAddress = (row) => `/charts?${new URLSearchParams({ coin: row.coin, interval: model.interval, model: model.id, at: row.timestamp })}`;
const trades = resource({
  panels: [panels.trades], read: (signal) => api.get(`${url}/trades`, { limit: ROWS }, { signal }), isEmpty: (rows) => !rows.length, source: ledger,
  paint: (rows) => tradesTable.setRows(rows, { flashNew: true }),
});

const decisionsTable = new DataTable($("#decisions-table"), { caption: t("Decisions"), patch: true, tall: true, columns: decisionColumns(), expand: decisionDetails });
let withHolds = false;
const decisions = resource({
  panels: [panels.decisions], read: (signal) => api.get(`${url}/decisions`, { limit: DECISIONS }, { signal }), isEmpty: (rows) => !rows.length, source: ledger,
  paint: (rows) => {
    // most decisions leave a coin as it is: they are shown on request, or where there is nothing else
    const wanted = rows.filter((row) => row.action !== "HOLD");
    decisionsTable.setRows(withHolds || !wanted.length ? rows : wanted, { flashNew: true });
  },
});
$("#decisions .panel-tools").append(checkNode({ name: "holds", label: t("Also where it left a coin alone"), onchange: (event) => {
  withHolds = event.target.checked;
  if (decisions.data?.length) decisions.show(decisions.data);
} }));

// -- settings -----------------------------------------------------------------------------------

let strategies = [];
const RISKS = () => [["max_position_size_percent", t("Largest position"), "%"], ["max_leverage", t("Highest leverage"), "×"], ["max_open_positions", t("Open positions"), ""], ["max_gross_exposure_percent", t("Gross exposure"), "%"],
  ["max_daily_trades", t("Opens a day"), ""], ["max_daily_loss_percent", t("Daily loss"), "%"], ["stop_loss_percent", t("Stop-loss"), "%"], ["take_profit_percent", t("Take-profit"), "%"]];

function paintSettings() {
  $("#model-name").lastChild.textContent = model.name;
  fill($("#model-status"), statusChip(model.status));
  $("#pause").textContent = model.status === "running" ? t("Pause") : t("Resume");
  const strategy = strategies.find((one) => one.id === model.strategy_id);
  $("#model-about").textContent = [kindText(model.kind), strategy?.name].filter(Boolean).join(" · ");
  const off = t("off");
  const rows = [
    [t("Strategy"), strategy ? h("a", { href: `/strategies?id=${strategy.id}` }, strategy.name) : model.kind === "hold" ? t("buys and holds by weight") : null],
    [t("Candles"), model.interval],
    [t("Looked at every"), duration(model.interval_seconds)],
    [t("Cycles so far"), typeof model.cycles === "number" ? int(model.cycles) : null],
    [t("Market"), model.market],
    [t("Leverage"), `${num(model.leverage, 2, 0)}×`],
    [t("Fee, each side"), percent(model.trade_fee_rate * 100, 3)],
    [t("Slippage"), `${num(model.slippage_bps, 2, 0)} ${t("bps")}`],
    ...RISKS().map(([name, label, unit]) => [label, model.risk?.[name] ? `${num(model.risk[name], 2, 0)}${unit}` : off]),
  ].filter(([, value]) => value !== null);
  fill($("#settings-facts"), rows.map(([name, value]) => [h("dt", null, name), h("dd", { class: value === off ? "quiet" : null }, value)]));
  panels.settings.ready();
}

const settings = resource({
  panels: [panels.settings],
  read: (signal) => api.get(url, null, { signal }),
  paint: (found) => {
    model = found;
    paintSettings();
  },
});

// -- pool ---------------------------------------------------------------------------------------

let pool = [];
const weightSum = () => pool.filter((row) => row.is_enabled).reduce((sum, row) => sum + row.weight, 0);

async function change1(row, body) {
  try {
    Object.assign(row, await api.put(`${url}/coins/${row.id}`, body));
  } catch (error) {
    if (error.name !== "ApiError") throw error;
    toast(error.message, "bad");
  }
  poolTable.draw();
}

const poolTable = new DataTable($("#pool-table"), {
  caption: t("Pool"), tall: true, rowKey: (row) => row.id, rowClass: (row) => (row.is_enabled ? null : "is-off"),
  columns: [
    { key: "symbol", label: t("Coin"), rest: true, cell: (row) => [coinCell(row.symbol), " ", h("span", { class: "quiet", title: row.name ?? null }, row.name ?? "")] },
    { key: "is_enabled", label: t("Trades"), cell: (row) => h("span", { class: "form-check form-switch" }, h("input", {
      type: "checkbox", role: "switch", class: "form-check-input", checked: row.is_enabled, "aria-label": t("%(coin)s may be traded", { coin: row.symbol }),
      onchange: (event) => change1(row, { is_enabled: event.target.checked }),
    })) },
    { key: "weight", label: t("Weight"), align: "n", cell: (row) => h("input", {
      type: "number", class: "form-control weight", min: "0", step: "any", value: String(row.weight), "aria-label": t("Weight of %(coin)s", { coin: row.symbol }),
      onchange: (event) => change1(row, { weight: event.target.value === "" ? 0 : Number(event.target.value) }),
    }) },
    { key: "share", label: t("Share"), align: "n", hint: t("of the equity, before the limits"), value: (row) => (row.is_enabled && weightSum() ? (row.weight / weightSum()) * 100 : 0), cell: (row) => (row.is_enabled && weightSum() ? percent((row.weight / weightSum()) * 100, 1) : "–") },
    { key: "remove", label: "", aria: t("Remove"), align: "n", cell: (row) => h("button", { type: "button", class: "btn btn-bare btn-sm", "aria-label": t("Remove %(coin)s from the pool", { coin: row.symbol }), onclick: () => removeCoin(row) }, t("Remove")) },
  ],
});

function paintPool(rows) {
  pool = rows;
  const within = new Set(rows.map((row) => row.symbol));
  poolPicker.setItems(coinItems(coins.filter((coin) => !within.has(coin.symbol))));
  if (poolPicker.value !== null) poolPicker.set(null);
  poolTable.setRows(rows, { flashNew: true });
  $("#pool-table").hidden = !rows.length;
  $("#pool-empty").hidden = Boolean(rows.length);
}

const poolRows = resource({ panels: [panels.pool], read: (signal) => api.get(`${url}/coins`, null, { signal }), source: ledger, paint: paintPool });

async function tryPool(work) {
  try {
    await work();
  } catch (error) {
    if (error.name !== "ApiError") throw error;
    toast(error.message, "bad");
  }
  await poolRows.refresh();
}

async function addCoin(symbol) {
  const coin = coins.find((one) => one.symbol === symbol);
  if (!coin) return;
  await tryPool(async () => {
    await api.post(`${url}/coins`, { id: coin.id });
    toast(t("%(coin)s is in the pool now.", { coin: symbol }));
  });
  poolPicker.input.focus();
  poolPicker.close();
}

async function removeCoin(row) {
  const held = portfolio.data?.positions.some((one) => one.coin === row.symbol);
  await tryPool(async () => {
    await api.del(`${url}/coins/${row.id}`);
    toast(held ? t("%(coin)s left the pool; its open position stays managed until it closes.", { coin: row.symbol }) : t("%(coin)s left the pool.", { coin: row.symbol }));
  });
}

let coins = [];
const poolPicker = new Picker($("#pool-picker"), { label: t("Add a coin to the pool"), placeholder: t("Add a coin: search by symbol or name"), onChange: addCoin });

async function offerCoins() {
  const [coinRows, groupRows, strategyRows] = await Promise.all([api.get("/api/coins"), api.get("/api/coin-groups"), api.get("/api/strategies")]);
  coins = coinRows;
  strategies = strategyRows;
  if (poolRows.data) paintPool(poolRows.data);
  fill($("#pool-groups"), h("span", { class: "label" }, t("Add a group:")), groupRows.map((group) => h("button", {
    type: "button", class: "btn btn-plain btn-sm", onclick: () => tryPool(async () => {
      const done = await api.post(`${url}/add-group/${group.id}`);
      toast(t("%(group)s: %(added)s added, %(already)s were there already.", { group: group.name, ...done }));
    }),
  }, group.name)));
  form = new ModelForm($("#model-form"), { strategies, cancel: closeForm, save });
  paintSettings();
}

// -- actions ------------------------------------------------------------------------------------

let form = null;

async function save(body) {
  model = { ...model, ...(await api.put(url, body)) };
  toast(t("%(name)s is saved.", { name: model.name }));
  paintSettings();
  closeForm();
  portfolio.refresh();
  equity.refresh(); // another capital moves where the line begins
}

function closeForm() {
  $("#model-editor").hidden = true;
  $("#edit").setAttribute("aria-expanded", "false");
  $("#edit").focus();
}

$("#edit").addEventListener("click", () => {
  if (!form) return;
  if (!$("#model-editor").hidden) {
    closeForm();
    return;
  }
  form.show(model);
  $("#model-editor").hidden = false;
  $("#edit").setAttribute("aria-expanded", "true");
  form.focus();
});

$("#pause").addEventListener("click", async () => {
  if (await setStatus(model, model.status === "running" ? "paused" : "running")) settings.refresh();
});

// What is gone cannot be read: a last push on its way must not ask for it.
function leave() {
  for (const one of [portfolio, equity, trades, decisions, settings, poolRows]) one.stop();
  location.assign("/models");
}

$("#delete").addEventListener("click", async () => {
  if (await deleteModel(model, portfolio.data?.positions.length)) leave();
});

function cycleNode(result) {
  const words = [
    ngettext("%(num)s decision", "%(num)s decisions", result.decisions.length), ngettext("%(num)s order", "%(num)s orders", result.orders.length),
    ngettext("%(num)s fill", "%(num)s fills", result.fills.length),
  ].join(" · ");
  return h("div", { class: "stack-1" }, h("p", { class: "strong" }, words),
    result.decisions.length ? null : h("p", { class: "quiet" }, t("Nothing was to be decided: the pool is empty, no candle has closed since the last cycle, or every coin is left as it is. Accounts, stops and funding were settled.")),
    h("ul", { class: "cycle-list plain" },
      result.decisions.map((row) => h("li", null, actionChip(row.action), h("span", { class: "strong" }, row.symbol), outcomeChip(row), h("span", { class: "quiet" }, row.reasoning || ""))),
      result.fills.map((row) => h("li", null, sideChip(row.side), h("span", { class: "strong" }, row.coin), h("span", { class: "num" }, `${quantity(row.quantity)} × ${price(row.price, row.coin)}`), h("span", { class: "quiet" }, reasonText(row.reason)), row.pnl === null ? null : pnl(row.pnl)))));
}

$("#run-now").addEventListener("click", async (event) => {
  const button = event.currentTarget;
  button.disabled = true;
  button.textContent = t("Running…");
  try {
    const result = await api.post(`${url}/execute`);
    fill($("#cycle-body"), cycleNode(result));
    $("#cycle").hidden = false;
    refreshAll();
  } catch (error) {
    if (error.name !== "ApiError") throw error;
    toast(error.message, "bad");
  } finally {
    button.disabled = false;
    button.textContent = t("Run one cycle now");
    button.focus();
  }
});
$("#cycle-close").addEventListener("click", () => {
  $("#cycle").hidden = true;
  $("#run-now").focus();
});

function refreshAll() {
  portfolio.refresh();
  trades.refresh();
  decisions.refresh();
  settings.refresh();
}

// -- start --------------------------------------------------------------------------------------

const mine = (handler) => (row) => row.model_id === model.id && handler(row);
live.on("trade_executed", mine(() => {
  trades.hint();
  portfolio.hint();
}));
live.on("ai_decision", mine(() => decisions.hint()));
live.on("position_update", mine(() => portfolio.hint()));
live.on("account_update", mine((row) => {
  if (portfolio.data && typeof row.total_value === "number") paintPortfolio({ ...portfolio.data, ...row, positions: portfolio.data.positions });
}));
live.on("model_changed", mine((push) => {
  if (push.change === "deleted") leave();
  else {
    settings.hint();
    poolRows.hint();
  }
}));
live.on("price_update", (push) => {
  const row = portfolio.data?.positions.find((one) => one.coin === push.symbol);
  if (!row) return;
  row.current_price = push.price;
  row.unrealized_pnl = (row.side === "short" ? -1 : 1) * row.quantity * (push.price - row.avg_price);
  row.value = row.margin + row.unrealized_pnl;
  positionsTable.draw();
});
live.subscribe({ channels: ["price_update", "account_update", "position_update", "trade_executed", "ai_decision", "model_changed", "status"] });

paintSettings();
portfolio.show(data.portfolio);
equity.refresh();
trades.refresh();
decisions.refresh();
poolRows.refresh();
offerCoins().catch((error) => toast(error.message, "bad"));
