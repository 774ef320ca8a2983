// Numbers and times as people read them. An unknown number is a dash, never a zero.
//
//   num(x, digits)  int(x)  money(x)  percent(x, digits)  ratio(x)   text; thousands separated
//   signedMoney(x)  signedPercent(x)       text with its sign
//   price(x, coin)                         digits by the instrument's tick, else by magnitude
//   quantity(x)
//   changed(x, text)                       <span class="up|down"> around a text; sign and colour
//   pnl(x), change(x)                      the two most used of them
//   time(ms, {seconds, date: true|"auto"})  <time> in the viewer's zone, UTC on hover
//   utc(ms), day(ms)                       text
//   ago(seconds), duration(seconds)        text
//   sideChip(side), reasonText(reason), signalText(signal), actionChip(action)

import { h, pageData } from "./dom.js";
import { locale, ngettext, t } from "./i18n.js";
import { marketNow } from "./clock.js";

export const DASH = "–";

const known = (x) => typeof x === "number" && Number.isFinite(x);
const formats = new Map();
function formatter(options) {
  const key = JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(locale, options));
  return formats.get(key);
}

// -0.00 would say that something was lost.
const tidy = (x, digits) => (Math.abs(x) < 0.5 * 10 ** -digits ? 0 : x);

export function num(x, digits = 2, minimum = digits) {
  if (!known(x)) return DASH;
  return formatter({ minimumFractionDigits: minimum, maximumFractionDigits: digits }).format(tidy(x, digits));
}
export const int = (x) => num(x, 0);
export const money = (x) => num(x, 2);
export const ratio = (x) => num(x, 2);
export const percent = (x, digits = 2) => (known(x) ? `${num(x, digits)}%` : DASH);

function signed(x, digits) {
  return formatter({ minimumFractionDigits: digits, maximumFractionDigits: digits, signDisplay: "exceptZero" }).format(tidy(x, digits));
}
export const signedMoney = (x) => (known(x) ? signed(x, 2) : DASH);
export const signedPercent = (x, digits = 2) => (known(x) ? `${signed(x, digits)}%` : DASH);

export function compact(x) {
  if (!known(x)) return DASH;
  return formatter({ notation: "compact", maximumFractionDigits: 2 }).format(x);
}

export function tickDigits(tick) {
  if (!known(tick) || tick <= 0) return null;
  return Math.min(12, Math.max(0, Math.ceil(-Math.log10(tick) - 1e-9)));
}

// Where no tick is known: five significant digits, at least two decimals.
function digitsByMagnitude(x) {
  const size = Math.abs(x);
  if (size === 0 || size >= 1000) return 2;
  return Math.min(12, Math.max(2, 4 - Math.floor(Math.log10(size))));
}

export function priceDigits(x, coin) {
  const tick = coin ? pageData().ticks?.[coin] : undefined;
  return tickDigits(tick) ?? (known(x) ? digitsByMagnitude(x) : 2);
}

export const price = (x, coin) => (known(x) ? num(x, priceDigits(x, coin)) : DASH);

export function quantity(x) {
  if (!known(x)) return DASH;
  return formatter({ maximumSignificantDigits: 8 }).format(x);
}

export const direction = (x) => (known(x) && Math.abs(x) >= 1e-9 ? (x > 0 ? "up" : "down") : known(x) ? "" : "dash");
export const changed = (x, text) => h("span", { class: `num ${direction(x)}` }, text);
export const pnl = (x) => changed(x, signedMoney(x));
export const change = (x, digits = 2) => changed(x, signedPercent(x, digits));

// -- times ------------------------------------------------------------------------------------

const pad = (x, n = 2) => String(x).padStart(n, "0");

export function utc(ms) {
  if (!known(ms)) return DASH;
  const d = new Date(ms);
  return `${d.getUTCFullYear()}-${pad(d.getUTCMonth() + 1)}-${pad(d.getUTCDate())} ${pad(d.getUTCHours())}:${pad(d.getUTCMinutes())}:${pad(d.getUTCSeconds())} UTC`;
}

export const day = (ms) => (known(ms) ? new Date(ms).toISOString().slice(0, 10) : DASH);

const dateFormats = new Map();
function dateFormat(options) {
  const key = JSON.stringify(options);
  if (!dateFormats.has(key)) dateFormats.set(key, new Intl.DateTimeFormat(locale, options));
  return dateFormats.get(key);
}

// `date: "auto"` leaves the date out where it is today's (of the market's clock).
export function localText(ms, { date = true, seconds = false, year = undefined } = {}) {
  if (!known(ms)) return DASH;
  if (date === "auto") date = new Date(ms).toDateString() !== new Date(marketNow()).toDateString();
  const withYear = year ?? Math.abs(marketNow() - ms) > 300 * 86400e3;
  return dateFormat({
    ...(date ? { month: "short", day: "2-digit", ...(withYear ? { year: "numeric" } : {}) } : {}),
    hour: "2-digit",
    minute: "2-digit",
    ...(seconds ? { second: "2-digit" } : {}),
    hourCycle: "h23",
  }).format(new Date(ms));
}

export function time(ms, options) {
  if (!known(ms)) return h("span", { class: "dash" }, DASH);
  return h("time", { datetime: new Date(ms).toISOString(), title: utc(ms) }, localText(ms, options));
}

export function duration(seconds) {
  if (!known(seconds)) return DASH;
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return t("%(n)s s", { n: s });
  if (s < 3600) return s % 60 && s < 600 ? t("%(m)s min %(s)s s", { m: Math.floor(s / 60), s: s % 60 }) : t("%(n)s min", { n: Math.round(s / 60) });
  if (s < 86400) {
    const minutes = Math.floor((s % 3600) / 60);
    return minutes ? t("%(h)s h %(m)s min", { h: Math.floor(s / 3600), m: minutes }) : t("%(n)s h", { n: Math.floor(s / 3600) });
  }
  const days = Math.floor(s / 86400);
  return ngettext("%(num)s day", "%(num)s days", days);
}

export const ago = (seconds) => (known(seconds) ? (seconds < 1 ? t("now") : t("%(time)s ago", { time: duration(seconds) })) : DASH);

// -- words of trading ---------------------------------------------------------------------------

export function sideChip(side) {
  if (side === "long") return h("span", { class: "chip is-up" }, t("Long"));
  if (side === "short") return h("span", { class: "chip is-down" }, t("Short"));
  return h("span", { class: "dash" }, DASH);
}

export function actionChip(action) {
  const words = { LONG: [t("Long"), "is-up"], SHORT: [t("Short"), "is-down"], CLOSE: [t("Close"), "is-accent"], HOLD: [t("Hold"), "is-quiet"] };
  const [text, look] = words[action] ?? [action ?? DASH, "is-quiet"];
  return h("span", { class: `chip ${look}` }, text);
}

export function signalText(signal) {
  const words = { buy_to_enter: t("Buy to enter"), sell_to_enter: t("Sell to enter"), close_position: t("Close position") };
  return words[signal] ?? signal ?? DASH;
}

// A fill as people say it: "Long open", "Short close".
export const fillText = (row) => (row.signal === "close_position" ? t("close") : t("open"));

export const sourceText = (source) => (source === "simulated" ? t("SIMULATED market") : source ?? DASH);

export function reasonText(reason) {
  const words = {
    signal: t("Signal"), stop_loss: t("Stop-loss"), take_profit: t("Take-profit"), trailing_stop: t("Trailing stop"),
    liquidation: t("Liquidation"), open: t("Still open"),
  };
  return words[reason] ?? reason ?? DASH;
}

export function kindText(kind) {
  const words = { rules: t("Rules"), hold: t("Hold"), llm: t("Language model"), team: t("Team"), grid: t("Grid") };
  return words[kind] ?? kind ?? DASH;
}
