// What the list of runs, a report and a comparison show alike.
//
//   runStatus(run)     chip with the progress of a run that goes on
//   FIGURES            [key, label, text(value), look(value)] of a report's summary, most asked for first
//   BETTER             which way a figure is better: "max" or "min"; silent where neither is
//   settingRows(settings)   [[name, text]] of what was asked, in words
//   isOver(run)

import { h } from "../core/dom.js";
import { int, money, num, percent, ratio, signedMoney, signedPercent, utc } from "../core/format.js";
import { t } from "../core/i18n.js";

const LOOKS = { queued: "is-quiet", running: "is-accent", done: "is-up", failed: "is-down", cancelled: "is-quiet", interrupted: "is-warn" };
const words = () => ({ queued: t("Queued"), running: t("Running"), done: t("Done"), failed: t("Failed"), cancelled: t("Cancelled"), interrupted: t("Cut off") });

export const isOver = (run) => !["queued", "running"].includes(run.status);

export function runStatus(run) {
  const name = words()[run.status] ?? run.status;
  return h("span", { class: `chip ${LOOKS[run.status] ?? ""}`, title: run.error ?? null }, run.status === "running" ? `${name} ${percent(100 * run.progress, 0)}` : name);
}

const sign = (x) => (x > 0 ? "up" : x < 0 ? "down" : "");

export const FIGURES = () => [
  ["final_value", t("Final value"), money, null],
  ["return_percentage", t("Return"), signedPercent, sign],
  ["buy_and_hold_return", t("Buy and hold"), signedPercent, sign],
  ["max_drawdown", t("Largest drawdown"), percent, null],
  ["sharpe_ratio", t("Sharpe ratio"), ratio, null],
  ["total_trades", t("Closed trades"), int, null],
  ["win_rate", t("Won"), percent, null],
  ["profit_factor", t("Profit factor"), ratio, null],
  ["total_fees", t("Fees"), money, null],
  ["total_funding", t("Funding"), signedMoney, sign],
  ["cagr", t("Return a year"), signedPercent, sign],
  ["annual_volatility", t("Volatility a year"), percent, null],
  ["sortino_ratio", t("Sortino ratio"), ratio, null],
  ["calmar_ratio", t("Calmar ratio"), ratio, null],
  ["expectancy", t("Mean trade"), signedMoney, sign],
  ["best_trade", t("Best trade"), signedMoney, sign],
  ["worst_trade", t("Worst trade"), signedMoney, sign],
  ["exposure", t("Time in the market"), percent, null],
  ["liquidations", t("Liquidations"), int, null],
  ["open_trades", t("Open at the end"), int, null],
];

export const BETTER = {
  final_value: "max", return_percentage: "max", max_drawdown: "min", sharpe_ratio: "max", win_rate: "max", profit_factor: "max", total_fees: "min",
  cagr: "max", annual_volatility: "min", sortino_ratio: "max", calmar_ratio: "max", expectancy: "max", liquidations: "min",
};

const day = (value) => (typeof value === "number" ? `${utc(value)}` : String(value));
const orNone = (x, unit) => (x ? `${num(x, 4, 0)} ${unit}` : t("none"));

export function settingRows(settings) {
  return [
    [t("Strategy"), settings.strategy?.name ?? t("buy and hold")],
    [t("Direction"), { long: t("Long only"), short: t("Short only"), both: t("Long and short") }[settings.strategy?.direction ?? "long"]],
    [t("Coins"), settings.coins.join(", ")],
    [t("Candles"), `${settings.venue} ${settings.market} ${settings.interval}`],
    [t("Span"), `${day(settings.start_date)} – ${day(settings.end_date)}`],
    [t("Capital"), money(settings.initial_capital)],
    [t("Size of a position"), percent(settings.position_size_percent)],
    [t("Leverage"), `${num(settings.leverage, 2, 0)}×`],
    [t("Fee, each side"), percent(100 * settings.trade_fee_rate, 4)],
    [t("Maker fee"), percent(100 * settings.maker_fee_rate, 4)],
    [t("Slippage"), `${num(settings.slippage_bps, 2, 0)} ${t("bps")}`],
    [t("Funding"), settings.funding === "auto" ? t("as stored, else a usual rate") : t("none")],
    [t("Orders fill at"), { next_open: t("the next open"), mid: t("the middle of the next bar (optimistic)"), close: t("the close decided on (optimistic)") }[settings.fill_price]],
    [t("Stop-loss"), orNone(settings.stop_loss_percent, "%")],
    [t("Take-profit"), orNone(settings.take_profit_percent, "%")],
    [t("Trailing stop"), orNone(settings.trailing_stop_percent, "%")],
    [t("Maintenance margin"), settings.maintenance_margin_rate === null ? t("of each instrument") : percent(100 * settings.maintenance_margin_rate, 4)],
    [t("Finer candles"), settings.detail_interval ?? t("none")],
    [t("Risk limits"), settings.model_id ? t("of model %(id)s", { id: settings.model_id }) : t("none: a bare strategy")],
  ];
}
