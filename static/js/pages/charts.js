// Charts: candles of any coin from the workspace's market or from the store, live at the right edge,
// older and newer bars as one scrolls, and the trades of one model. The address carries the state.

import { $, fill, h, pageData } from "../core/dom.js";
import { api } from "../core/api.js";
import { change, compact, day, price, signedMoney, utc } from "../core/format.js";
import { t } from "../core/i18n.js";
import { live } from "../core/live.js";
import { marketNow, marketSpeed } from "../core/clock.js";
import { Panel, resource } from "../components/panel.js";
import { DataTable } from "../components/table.js";
import { PriceChart, stepOf } from "../components/pricechart.js";
import { Picker, coinItems } from "../components/picker.js";
import { segmented } from "../components/form.js";
import { tradeColumns } from "../components/columns.js";
import { theme } from "../core/colors.js";

const INTERVALS = ["1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w"];
const BARS = 500;
const MORE_BARS = 1000;
const NEWER_WITHIN_BARS = 20;
const TRADES = 1000;

const data = pageData();
const asked = new URLSearchParams(location.search);
const state = {
  coin: asked.get("coin") || data.shell.default_coin,
  interval: INTERVALS.includes(asked.get("interval")) ? asked.get("interval") : "1h",
  model: asked.get("model") || "",
  venue: asked.get("venue") || "",
  market: asked.get("market") || "",
  at: Number(asked.get("at")) || null,
};

const chartPanel = new Panel("#chart", { empty: { text: t("There is no candle at or before that time. Choose a later one, or other candles above."), action: { label: t("Go to the latest"), onclick: () => $("#to-now").click() } } });
const marksPanel = new Panel("#marks", { empty: { text: t("Choose a model above to see its trades in this coin.") } });

let chart = null;
let coins = [];
let models = [];
let trades = [];
let generation = 0; // answers of an earlier choice are dropped
let atLiveEdge = true;
let reading = { older: false, newer: false };
let oldest = null; // ms of the bar that none is older than, once it is known
let lastPush = 0;

const isStored = () => state.venue !== "";
const place = () => (isStored() ? { venue: state.venue, market: state.market } : {});

function writeAddress() {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) if (value) search.set(name, value);
  history.replaceState(null, "", `/charts?${search}`);
  document.title = `${state.coin} ${state.interval} · Curlew`;
}

async function readBars(query, signal) {
  const answer = await api.fetch(`/api/klines/${encodeURIComponent(state.coin)}`, { interval: state.interval, ...place(), ...query }, { signal });
  return {
    bars: await answer.json(),
    source: answer.headers.get("X-Data-Source"),
    market: answer.headers.get("X-Data-Market"),
    note: answer.headers.get("X-Data-Note"),
    ageMs: Number(answer.headers.get("X-Data-Age-Ms") ?? 0),
  };
}

function sourceWords(found) {
  const words = [found.source, found.market, state.interval];
  if (found.note) words.push(found.note);
  if (found.source === "simulated") words[0] = t("SIMULATED");
  const last = found.bars[found.bars.length - 1];
  if (isStored() && last) words.push(t("last candle %(time)s", { time: utc(last.timestamp) }));
  return { source: words.filter(Boolean).join(" · "), simulated: found.source === "simulated", ageMs: isStored() ? found.ageMs : found.ageMs / marketSpeed() };
}

// -- bars ---------------------------------------------------------------------------------------

async function readFirst(signal) {
  const step = stepOf(state.interval);
  if (state.at) return { ...(await readBars({ limit: MORE_BARS, end: Math.floor(state.at + step * (BARS / 2)) }, signal)), live: false };
  return { ...(await readBars({ limit: BARS, forming: isStored() ? 0 : 1 }, signal)), live: true };
}

const candles = resource({
  panels: [chartPanel],
  read: readFirst,
  isEmpty: (found) => !found.bars.length,
  source: sourceWords,
  paint: (found) => {
    makeChart();
    oldest = null;
    atLiveEdge = found.live;
    chart.setInterval(state.interval);
    chart.setTick(isStored() ? null : data.ticks?.[state.coin]);
    chart.setBars(found.bars, { count: Math.max(40, Math.round($("#price-chart").clientWidth / 8)) });
    if (state.at) chart.showTime(state.at);
    showMarks();
  },
});

function makeChart() {
  if (chart) return;
  chart = new PriceChart($("#price-chart"), { label: t("Candles and volume"), onOlder: readOlder, onMark: (mark) => selectTrade(mark.data) });
  chart.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
    if (range && !atLiveEdge && range.to > chart.bars.length - NEWER_WITHIN_BARS) readNewer();
  });
}

async function readMore(which, query, take) {
  if (reading[which] || !chart?.bars.length || chartPanel.state !== "ready") return;
  reading[which] = true;
  const mine = generation;
  try {
    const found = await readBars(query);
    if (mine === generation) take(found);
  } catch (error) {
    if (error.name !== "ApiError") throw error;
    chartPanel.stale(error.message);
  } finally {
    reading[which] = false;
  }
}

function readOlder() {
  if (oldest !== null && oldest === chart.bars[0]?.timestamp) return;
  readMore("older", { limit: MORE_BARS, end: chart.bars[0].timestamp - 1 }, (found) => {
    if (chart.prepend(found.bars) === 0) oldest = chart.bars[0].timestamp;
  });
}

function readNewer() {
  const last = chart.bars[chart.bars.length - 1].timestamp;
  readMore("newer", { limit: MORE_BARS, start: last + 1, forming: isStored() ? 0 : 1 }, (found) => {
    const fresh = found.bars.filter((bar) => bar.timestamp > last);
    for (const bar of fresh) chart.update(bar);
    if (fresh.length < MORE_BARS) atLiveEdge = true;
    showMarks();
  });
}

// -- the last bar, live -------------------------------------------------------------------------

const isAtEdge = () => !isStored() && atLiveEdge && chart?.bars.length > 0;
const isLive = () => isAtEdge() && chartPanel.state === "ready";
// One reading failed while the connection stands: no reconnection will mend it, so the next second tries again.
const isBehind = () => isAtEdge() && chartPanel.state === "stale" && live.state === "connected";

live.on("kline_update", (push) => {
  if (!isLive() || push.symbol !== state.coin || push.interval !== state.interval || !push.bar) return;
  lastPush = performance.now();
  chart.update({ ...push.bar, timestamp: push.bar.timestamp ?? push.bar.time });
});

live.on("price_update", (push) => {
  if (push.symbol !== state.coin || typeof push.price !== "number") return;
  showPrice(push.price);
  if (!isLive()) return;
  const last = chart.bars[chart.bars.length - 1];
  const ms = push.timestamp;
  if (ms >= last.timestamp && ms < last.timestamp + stepOf(state.interval)) {
    chart.update({ ...last, close: push.price, high: Math.max(last.high, push.price), low: Math.min(last.low, push.price) });
  } else if (ms >= last.timestamp + stepOf(state.interval)) readTail();
});

let tailBusy = false;
async function readTail() {
  if (!(isLive() || isBehind()) || tailBusy || document.visibilityState !== "visible") return;
  tailBusy = true;
  const mine = generation;
  try {
    // from the last known bar on: a page that slept gets all that it missed
    const found = await readBars({ limit: MORE_BARS, start: chart.bars[chart.bars.length - 1].timestamp, forming: 1 });
    if (mine !== generation || !(isLive() || isBehind())) return;
    for (const bar of found.bars) chart.update(bar);
    chartPanel.ready(sourceWords(found));
    if (found.bars.length > 1) showMarks();
  } catch (error) {
    if (error.name !== "ApiError") throw error;
    if (mine === generation) chartPanel.stale(error.message);
  } finally {
    tailBusy = false;
  }
}

setInterval(() => {
  if (performance.now() - lastPush > 900) readTail();
}, 1000);

// -- quote --------------------------------------------------------------------------------------

const quotes = resource({
  read: (signal) => (isStored() ? null : api.get(`/api/market/quote/${encodeURIComponent(state.coin)}`, null, { signal }).catch((error) => (error.name === "ApiError" ? null : Promise.reject(error)))),
  paint: showQuote,
  every: 5000,
});

function showQuote(quote) {
  const coin = coins.find((one) => one.symbol === state.coin);
  const fact = (label, value) => h("span", { class: "fact" }, h("span", { class: "label" }, label), h("span", { class: "num" }, value));
  fill($("#quote"), h("span", { class: "coin" }, coin ? `${coin.name} ` : "", h("span", { class: coin ? "quiet" : null }, state.coin)),
    ...(quote ? [
      h("span", { class: "price num", id: "price-now" }, price(quote.price, state.coin)),
      change(quote.change_percent_24h),
      fact(t("24 h high"), price(quote.high_24h, state.coin)), fact(t("24 h low"), price(quote.low_24h, state.coin)),
      fact(t("24 h volume"), compact(quote.volume_24h)),
      quote.source === "simulated" ? h("span", { class: "chip is-warn" }, t("SIMULATED")) : fact(t("Source"), quote.source),
    ] : isStored() ? [h("span", { class: "quiet" }, t("stored candles of %(venue)s %(market)s", state))] : []));
}

function showPrice(value) {
  const cell = $("#price-now");
  if (cell) cell.textContent = price(value, state.coin);
}

// -- trades of a model --------------------------------------------------------------------------

const marksTable = new DataTable($("#marks-table"), {
  caption: t("Trades on this chart"), limit: 100, tall: true,
  columns: [...tradeColumns().filter((column) => column.key !== "coin"),
    { key: "show", label: "", aria: t("Show"), cell: (row) => h("button", { type: "button", class: "btn btn-plain btn-sm", onclick: () => jump(row.timestamp) }, t("Show")) }],
  rowClass: (row) => (row.id === selected ? "is-selected" : null),
});
let selected = null;

function markOf(row) {
  const opens = row.pnl === null || row.pnl === undefined;
  const buys = opens ? row.side === "long" : row.side === "short";
  const text = opens ? (row.side === "long" ? t("Long") : t("Short")) : signedMoney(row.pnl);
  return { time: row.timestamp, side: buys ? "buy" : "sell", text, data: row, color: opens ? (buys ? theme.up : theme.down) : theme.warn };
}

function showMarks() {
  chart?.setMarks(trades.map(markOf));
}

function selectTrade(row) {
  selected = row.id;
  marksTable.draw();
  $(`#marks-table tr[data-key="${CSS.escape(String(row.id))}"]`)?.scrollIntoView({ block: "center", behavior: "smooth" });
}

const marks = resource({
  panels: [marksPanel],
  read: (signal) => (state.model ? api.get(`/api/models/${encodeURIComponent(state.model)}/trades`, { coin: state.coin, limit: TRADES }, { signal }) : []),
  isEmpty: (rows) => {
    trades = rows;
    showMarks();
    return !rows.length;
  },
  source: () => ({ source: t("Ledger of %(model)s", { model: models.find((one) => String(one.id) === state.model)?.name ?? "" }) }),
  paint: (rows) => marksTable.setRows(rows),
});

live.on("trade_executed", (row) => {
  if (String(row.model_id) === state.model && row.coin === state.coin) marks.hint();
});

// -- choices ------------------------------------------------------------------------------------

function sourcesOf(coin) {
  const found = [{ value: "", label: data.shell.simulated ? t("Workspace: simulated") : t("Workspace: exchanges") }];
  for (const one of data.stored.filter((row) => row.coin === coin)) found.push({ value: `${one.venue} ${one.market}`, label: `${one.venue} ${one.market}` });
  return found;
}

function drawSources() {
  const choices = sourcesOf(state.coin);
  const current = isStored() ? `${state.venue} ${state.market}` : "";
  if (!choices.some((one) => one.value === current)) {
    state.venue = "";
    state.market = "";
  }
  fill($("#source-select"), choices.map((one) => h("option", { value: one.value, selected: one.value === (isStored() ? current : "") }, one.label)));
}

function reload({ keepPlace = false } = {}) {
  generation += 1;
  reading = { older: false, newer: false };
  if (!keepPlace) state.at = null;
  writeAddress();
  fill($("#chart .panel-head .note") ?? h("span"), "");
  live.subscribe({ channels: ["price_update", "kline_update", "trade_executed"], coins: [state.coin] });
  lastPush = 0;
  if (chart) {
    chart.marks = [];
    chartPanel.root.dataset.state = "loading";
  }
  candles.refresh();
  quotes.refresh();
  marks.refresh();
}

function jump(ms) {
  state.at = ms;
  if (chart?.bars.length && ms >= chart.bars[0].timestamp && ms < chart.bars[chart.bars.length - 1].timestamp + stepOf(state.interval)) {
    writeAddress();
    chart.showTime(ms);
    $("#chart").scrollIntoView({ block: "nearest" });
  } else reload({ keepPlace: true });
}

async function start() {
  segmented($("#interval-picker"), INTERVALS.map((value) => ({ value, label: value })), state.interval, (value) => {
    state.interval = value;
    reload({ keepPlace: true });
  });
  const picker = new Picker($("#coin-picker"), { label: t("Coin"), value: state.coin, placeholder: t("Coin"), onChange: (coin) => {
    live.unsubscribe({ coins: [state.coin] });
    state.coin = coin;
    drawSources();
    reload();
  } });
  drawSources();
  $("#source-select").addEventListener("change", (event) => {
    [state.venue, state.market] = event.target.value ? event.target.value.split(" ") : ["", ""];
    reload();
  });
  const goToDay = () => {
    const ms = Date.parse(`${$("#jump-to").value}T00:00:00Z`);
    if (Number.isFinite(ms) && ms > 0) jump(ms);
  };
  $("#jump-form").addEventListener("submit", (event) => {
    event.preventDefault();
    goToDay();
  });
  $("#jump-to").addEventListener("change", goToDay);
  $("#jump-to").max = day(marketNow());
  $("#to-now").addEventListener("click", () => reload());
  reload({ keepPlace: true });
  // The lists may come after the chart.
  const [coinRows, modelRows] = await Promise.allSettled([api.get("/api/coins"), api.get("/api/models")]);
  coins = coinRows.value ?? [];
  const known = new Set(coins.map((coin) => coin.symbol));
  const extra = [...new Set(data.stored.map((one) => one.coin))].filter((coin) => !known.has(coin)).map((coin) => ({ value: coin, symbol: coin, name: t("stored candles only") }));
  picker.setItems([...coinItems(coins), ...extra]);
  models = modelRows.value ?? [];
  fill($("#model-select"), h("option", { value: "" }, t("no model")), models.map((model) => h("option", { value: String(model.id), selected: String(model.id) === state.model }, model.name)));
  $("#model-select").addEventListener("change", (event) => {
    state.model = event.target.value;
    selected = null;
    writeAddress();
    marks.refresh();
  });
  if (quotes.data !== undefined) showQuote(quotes.data);
  if (marks.data?.length) marks.show(marks.data);
}

start();
