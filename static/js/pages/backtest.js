// One backtest: its progress while it runs, then its report.

import { $, fill, h, pageData } from "../core/dom.js";
import { api } from "../core/api.js";
import { DASH, day, duration, int, money, num, pnl, price, quantity, reasonText, sideChip, signedPercent, time, utc } from "../core/format.js";
import { ngettext, t } from "../core/i18n.js";
import { live } from "../core/live.js";
import { theme } from "../core/colors.js";
import { Panel } from "../components/panel.js";
import { DataTable } from "../components/table.js";
import { TimeChart } from "../components/chart.js";
import { PriceChart, stepOf } from "../components/pricechart.js";
import { segmented } from "../components/form.js";
import { FIGURES, isOver, runStatus, settingRows } from "../components/backtestcells.js";
import { RuleWords } from "../components/rulewords.js";
import { toast } from "../components/toast.js";

const POLL_MS = 1000;
const BARS = 1000;

let run = pageData().run;
let report = null;
let timer = null;

// -- while it runs ------------------------------------------------------------------------------

async function act(call, done) {
  try {
    const answer = await call();
    done?.(answer);
  } catch (error) {
    if (error.name !== "ApiError") throw error;
    toast(error.message, "bad");
  }
}

const again = () => act(() => api.post(`/api/backtests/${run.id}/restart`), (started) => location.assign(`/backtest/${started.id}`));
const cancel = () => act(() => api.del(`/api/backtests/${run.id}`), refresh);

const tookWords = (ms) => (ms < 10_000 ? t("%(n)s s", { n: num(ms / 1000, 1) }) : duration(ms / 1000));

function wordsOf() {
  if (run.status === "failed") return run.error ?? t("It failed.");
  if (run.status === "interrupted") return t("The server stopped during this run. Start it again to get its report.");
  if (run.status === "cancelled") return t("It was cancelled.");
  if (run.status === "queued") return t("It waits for its turn.");
  if (run.status === "done" && run.started && run.finished) return t("finished in %(time)s", { time: tookWords(run.finished - run.started) });
  return "";
}

function showProgress() {
  const over = isOver(run);
  $("#progress").hidden = over;
  const share = Math.round(100 * run.progress);
  $("#progress-line").setAttribute("aria-valuenow", String(share));
  $("#progress-line > span").style.width = `${share}%`;
  const spent = run.started ? (Date.now() - run.started) / 1000 : 0;
  const left = run.progress > 0.05 && spent > 1 ? t(", about %(time)s left", { time: duration((spent * (1 - run.progress)) / run.progress) }) : "";
  fill($("#progress-words"), `${share}%${left}`);
  fill($("#run-status"), runStatus(run));
  fill($("#run-words"), wordsOf());
  const actions = over ? run.status : "going";
  if ($("#run-actions").dataset.shown === actions) return; // a button must not vanish under a press
  $("#run-actions").dataset.shown = actions;
  fill($("#run-actions"), over
    ? [
      run.status === "done" ? csvLinks() : null,
      h("a", { class: "btn btn-plain", href: `/backtest?from=${run.id}` }, t("Change and run")),
      h("button", { type: "button", class: run.status === "done" ? "btn btn-plain" : "btn btn-primary", onclick: again }, run.status === "done" ? t("Run again") : t("Start again")),
    ]
    : h("button", { type: "button", class: "btn btn-risky", onclick: cancel }, t("Cancel run")));
}

const csvLinks = () => [
  h("a", { class: "btn btn-plain", href: `/api/backtests/${run.id}/trades.csv`, download: "" }, t("Trades as CSV")),
  h("a", { class: "btn btn-plain", href: `/api/backtests/${run.id}/equity.csv`, download: "" }, t("Equity as CSV")),
];

async function refresh() {
  clearTimeout(timer);
  try {
    run = await api.get(`/api/backtests/${run.id}`);
  } catch (error) {
    if (error.name !== "ApiError") throw error;
    if (error.status === 404) {
      location.assign("/backtest");
      return;
    }
    timer = setTimeout(refresh, 3 * POLL_MS);
    return;
  }
  showProgress();
  if (run.report && !report) showReport(run.report);
  delete run.report; // megabytes that the page holds already
  if (!isOver(run)) timer = setTimeout(refresh, POLL_MS);
}

live.on("backtest_progress", (push) => {
  if (push.id !== run.id) return;
  if (isOver(push)) {
    refresh();
    return;
  }
  Object.assign(run, push);
  showProgress();
});
live.subscribe({ channels: ["backtest_progress", "status"] });
live.onResync(() => !report && refresh());

// -- the report ---------------------------------------------------------------------------------

function showReport(found) {
  report = found;
  report.trades.forEach((trade, index) => (trade.id = index));
  $("#report").hidden = false;
  const simulated = report.settings.venue === "simulated";
  const source = { source: simulated ? t("SIMULATED market") : `${report.settings.venue} · ${report.settings.market} · ${report.settings.interval}`, simulated };
  for (const show of [showNotes, showFigures, showEquity, showTrades, showCandles, showFacts]) show(source);
}

function showNotes() {
  const notes = (report.engine.notes ?? []).filter((note) => !(report.engine.optimistic && note.startsWith("fill_price"))); // said below, in words
  const optimistic = report.engine.optimistic ? [h("li", { class: "is-warn" }, h("b", null, t("Optimistic fills.")), " ", t("No account could have traded at these prices: read the result as an upper bound."))] : [];
  fill($("#notes"), optimistic, notes.map((note) => h("li", null, note)));
  $("#notes").hidden = !notes.length && !optimistic.length;
}

function showFigures() {
  fill($("#figures"), FIGURES().map(([key, label, text, look], index) => {
    const value = report.summary[key] ?? null;
    return h("div", { class: `figure${index === 0 ? " is-main" : ""}` }, h("dt", null, label),
      h("dd", { class: `num ${look && typeof value === "number" ? look(value) : ""}`, dataset: { figure: key } }, text(value)));
  }));
}

let equityChart = null;
let scale = "value";

// Charts above each other share their times: their axes are equally wide.
const AXIS_WIDTH = 76;

function showEquity(source) {
  const panel = new Panel("#equity");
  panel.ready(source);
  segmented($("#equity-scale"), [{ value: "value", label: t("Linear") }, { value: "log", label: t("Logarithmic") }], scale, (chosen) => {
    scale = chosen;
    drawEquity();
  });
  $("#equity-scale").setAttribute("aria-label", t("Scale"));
  drawEquity();
  const drawdown = new TimeChart($("#drawdown-chart"), { label: t("Drawdown"), legend: false, max: 0, axisWidth: AXIS_WIDTH, format: (x) => `${num(x)}%`, axisFormat: (x) => `${num(x, 0)}%` });
  let peak = -Infinity;
  const points = report.account_values.map((point) => {
    peak = Math.max(peak, point.value);
    return [point.timestamp, peak > 0 ? (point.value / peak - 1) * 100 : 0];
  });
  drawdown.set([{ name: t("Drawdown"), color: theme.down, points, area: true }]);
}

function drawEquity() {
  equityChart?.destroy();
  const log = scale === "log";
  const positive = ([, value]) => !log || value > 0; // a lost account has no logarithm
  equityChart = new TimeChart($("#equity-chart"), { label: t("Equity"), log, axisWidth: AXIS_WIDTH });
  equityChart.set([
    { name: t("This run"), color: theme.accent, points: report.account_values.map((point) => [point.timestamp, point.value]).filter(positive), area: !log, width: 2 },
    { name: t("Buy and hold"), color: theme.quiet, points: report.buy_and_hold.map((point) => [point.timestamp, point.value]).filter(positive), dashed: true },
  ]);
}

// -- trades -------------------------------------------------------------------------------------

let table = null;
let chosenTrade = null; // its id

function showTrades(source) {
  const panel = new Panel("#trades", { empty: { text: t("It never traded: no signal fired in this span, or no order could be paid for.") } });
  const rows = report.trades;
  if (!rows.length) {
    panel.empty();
    return;
  }
  panel.ready(source);
  const filters = { coin: $("#filter-coin"), side: $("#filter-side"), exit_reason: $("#filter-reason") };
  const offer = (key, all, text) => fill(filters[key], h("option", { value: "" }, all), [...new Set(rows.map((row) => row[key]))].sort().map((value) => h("option", { value }, text(value))));
  offer("coin", t("All coins"), (coinName) => coinName);
  offer("side", t("Both sides"), (side) => (side === "long" ? t("Long") : t("Short")));
  offer("exit_reason", t("All exits"), reasonText);
  table = new DataTable($("#trades-table"), {
    caption: t("Trades"), stack: true, limit: 100, tall: true, sort: { key: "entry_time", dir: "asc" }, rowClass: (row) => (row.id === chosenTrade ? "is-selected" : null),
    columns: [
      { key: "entry_time", label: t("Entry"), cell: (row) => h("button", { type: "button", class: "btn-link-quiet", onclick: () => showTrade(row) }, time(row.entry_time, { date: true })) },
      { key: "coin", label: t("Coin") },
      { key: "side", label: t("Side"), cell: (row) => sideChip(row.side) },
      { key: "entry_price", label: t("Entry price"), align: "n", cell: (row) => price(row.entry_price) },
      { key: "exit_time", label: t("Exit"), cell: (row) => (row.exit_reason === "open" ? DASH : time(row.exit_time, { date: true })) },
      { key: "exit_price", label: t("Exit price"), align: "n", cell: (row) => price(row.exit_price) },
      { key: "quantity", label: t("Quantity"), align: "n", cell: (row) => quantity(row.quantity) },
      { key: "fee", label: t("Fees"), align: "n", cell: (row) => money(row.fee) },
      { key: "funding", label: t("Funding"), align: "n", cell: (row) => (row.funding ? pnl(row.funding) : money(0)) },
      { key: "pnl", label: t("P&L"), align: "n", cell: (row) => pnl(row.pnl), hint: t("net of both fees and of funding") },
      { key: "pnl_percent", label: t("of margin"), align: "n", cell: (row) => signedPercent(row.pnl_percent) },
      { key: "exit_reason", label: t("Reason"), cell: (row) => (row.exit_reason === "open" ? t("still open") : reasonText(row.exit_reason)) },
    ],
  });
  const total = report.engine.trades_total ?? rows.length;
  const filter = () => {
    const found = rows.filter((row) => Object.entries(filters).every(([key, select]) => !select.value || row[key] === select.value));
    table.setRows(found);
    $("#trades .note")?.remove();
    const many = ngettext("%(num)s trade", "%(num)s trades", found.length, { num: int(found.length) });
    const words = found.length < rows.length ? t("%(found)s of %(all)s", { found: int(found.length), all: int(rows.length) }) : total > rows.length ? t("the first %(shown)s of %(total)s; the CSV has them all", { shown: int(rows.length), total: int(total) }) : many;
    $("#trades h2").after(h("span", { class: "note" }, words));
  };
  for (const select of Object.values(filters)) select.addEventListener("change", filter);
  filter();
}

// -- candles ------------------------------------------------------------------------------------

let chart = null;
let candlePanel = null;
let coin = null;
let busy = false;
let opened = 0; // answers to an earlier choice are dropped
let edges = { older: null, newer: false }; // older: the bar that none is older than

const seriesOf = (name) => report.data.find((one) => one.coin === name);

async function readBars(query) {
  const series = seriesOf(coin);
  return api.get(`/api/klines/${encodeURIComponent(series.symbol)}`, { interval: series.interval, venue: series.venue, market: series.market, limit: BARS, ...query });
}

function showCandles() {
  candlePanel = new Panel("#candles");
  const select = $("#candle-coin");
  select.hidden = report.data.length < 2;
  fill(select, report.data.map((one) => h("option", { value: one.coin }, one.coin)));
  select.addEventListener("change", () => openCandles(select.value, report.trades.find((trade) => trade.coin === select.value)?.entry_time));
  const first = report.trades[0];
  openCandles(first?.coin ?? report.data[0].coin, first?.entry_time);
}

const marks = new Map(); // by coin; the chart shows those of the bars that it has

function marksOf(name) {
  if (!marks.has(name)) marks.set(name, report.trades.filter((trade) => trade.coin === name).flatMap(marksOfTrade));
  return marks.get(name);
}

function marksOfTrade(trade) {
  const [entry, exit] = trade.side === "long" ? ["buy", "sell"] : ["sell", "buy"];
  const marked = [{ time: trade.entry_time, side: entry, data: trade }];
  if (trade.exit_reason !== "open") marked.push({ time: trade.exit_time, side: exit, shape: "circle", text: signedPercent(trade.pnl_percent, 1), color: trade.pnl >= 0 ? theme.up : theme.down, data: trade });
  return marked;
}

async function openCandles(name, at = null) {
  coin = name;
  const mine = (opened += 1);
  $("#candle-coin").value = name;
  const series = seriesOf(name);
  const step = stepOf(series.interval);
  const middle = at ?? series.first + (BARS / 2) * step;
  candlePanel.loading();
  try {
    const bars = await readBars({ start: Math.max(series.first, middle - (BARS / 2) * step), end: middle + (BARS / 2) * step });
    if (mine !== opened) return;
    candlePanel.ready({ source: `${series.venue} · ${series.market} · ${series.symbol} · ${series.interval}`, simulated: series.venue === "simulated" });
    chart ??= new PriceChart($("#price-chart"), { label: t("Candles with entries and exits"), onOlder: () => more("older"), onMark: (mark) => showWords(mark.data) });
    watchRight();
    edges = { older: null, newer: false };
    chart.coin = name;
    chart.setInterval(series.interval);
    chart.setMarks(marksOf(name));
    chart.setBars(bars, { fit: !at });
    if (at) chart.showTime(at);
  } catch (error) {
    if (error.name !== "ApiError") throw error;
    if (mine === opened) candlePanel.error(error, () => openCandles(name, at));
  }
}

let watched = false;
function watchRight() {
  if (watched) return;
  watched = true;
  chart.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
    if (range && range.to > chart.bars.length - 20) more("newer");
  });
}

async function more(which) {
  if (busy || !chart?.bars.length || chart.coin !== coin) return;
  const first = chart.bars[0].timestamp;
  if (which === "older" ? edges.older === first : edges.newer) return;
  busy = true;
  const mine = opened;
  try {
    const last = chart.bars[chart.bars.length - 1].timestamp;
    const bars = await readBars(which === "older" ? { end: first - 1 } : { start: last + 1 });
    if (mine !== opened) return;
    if (which === "older") {
      if (chart.prepend(bars) === 0) edges.older = first;
    } else {
      for (const bar of bars) chart.update(bar);
      edges.newer = !bars.length;
      chart.setMarks(marksOf(coin));
    }
  } catch (error) {
    if (error.name !== "ApiError") throw error;
    candlePanel.stale(error.message);
  } finally {
    busy = false;
  }
}

async function showTrade(trade) {
  // A distant trade is not scrolled to through years of candles.
  const loaded = coin === trade.coin && chart?.bars.length && trade.entry_time >= chart.bars[0].timestamp && trade.entry_time <= chart.bars[chart.bars.length - 1].timestamp;
  if (loaded) chart.showTime(trade.entry_time);
  else await openCandles(trade.coin, trade.entry_time);
  showWords(trade);
  $("#candles").scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
}

function showWords(trade) {
  chosenTrade = trade.id;
  table?.draw();
  const out = trade.exit_reason === "open"
    ? [t("still open at the end, valued at"), " ", price(trade.exit_price)]
    : [t("out"), " ", time(trade.exit_time, { date: true }), " ", t("at %(price)s (%(reason)s)", { price: price(trade.exit_price), reason: reasonText(trade.exit_reason) })];
  fill($("#trade-words"), sideChip(trade.side), " ", h("b", { class: "bright" }, trade.coin), " ", t("in"), " ", time(trade.entry_time, { date: true }), " ", t("at %(price)s", { price: price(trade.entry_price) }), ", ", out, ": ", pnl(trade.pnl), " ", h("span", { class: "quiet" }, `(${signedPercent(trade.pnl_percent)} ${t("of margin")})`));
  chart?.setLines([{ price: trade.entry_price, color: theme.accent, title: t("entry") }, { price: trade.exit_price, color: trade.pnl >= 0 ? theme.up : theme.down, title: trade.exit_reason === "open" ? t("end") : t("exit") }]);
}

// -- settings and data --------------------------------------------------------------------------

function showFacts() {
  new Panel("#settings").ready();
  fill($("#settings-facts"), settingRows(report.settings).map(([name, text]) => [h("dt", null, name), h("dd", null, text)]));
  showRules();
  new Panel("#data").ready();
  new DataTable($("#data-table"), {
    caption: t("Candles of this run"), rowKey: (row) => row.coin, stack: true,
    columns: [
      { key: "coin", label: t("Coin") },
      { key: "symbol", label: t("Series"), cell: (row) => `${row.venue} ${row.market} ${row.symbol}` },
      { key: "rows", label: t("Candles"), align: "n", cell: (row) => int(row.rows) },
      { key: "first", label: t("First"), cell: (row) => h("span", { title: utc(row.first) }, day(row.first)) },
      { key: "last", label: t("Last"), cell: (row) => h("span", { title: utc(row.last) }, day(row.last)) },
      { key: "gaps", label: t("Gaps"), align: "n", cell: (row) => int(row.gaps), hint: t("places where candles are missing") },
      { key: "sha256", label: t("SHA-256"), sort: false, cell: (row) => h("code", { title: row.sha256 }, row.sha256.slice(0, 12)), hint: t("of the candles: a changed candle changes it") },
    ],
  }).setRows(report.data);
  const bars = ngettext("%(num)s bar", "%(num)s bars", report.summary.bars);
  fill($("#engine-words"), t("Engine %(version)s: %(ms)s ms from candles in memory to this result, over %(bars)s.", {
    version: report.engine.version, ms: num(1000 * report.engine.seconds, 1), bars,
  }));
}

// The rules as they were, whatever the strategy says by now.
async function showRules() {
  const panel = new Panel("#rules");
  const rules = report.settings.strategy;
  if (!rules) {
    panel.root.hidden = true;
    return;
  }
  try {
    fill($("#rule-words"), new RuleWords(await api.get("/api/strategies/schema")).summary(rules));
    panel.ready();
  } catch (error) {
    if (error.name !== "ApiError") throw error;
    panel.error(error, showRules);
  }
}

showProgress();
refresh();
