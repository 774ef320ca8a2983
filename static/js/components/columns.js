// Columns that several tables share, so that a coin, a model or a price looks the same everywhere.
//
//   modelCell(id, name)  coinCell(symbol)  modelColumn(names)  coinColumn()  timeColumn(label, key)
//   tradeColumns({ models, short })  decisionColumns({ models })  positionColumns({ models })
//   decisionDetails(row)               what a decision said and what each limit answered
// `models`: Map of id -> {id, name} where rows of several models mix; else left out.

import { h } from "../core/dom.js";
import { t } from "../core/i18n.js";
import { modelColor, swatch } from "../core/colors.js";
import { DASH, actionChip, duration, fillText, int, money, num, percent, pnl, price, quantity, reasonText, sideChip, signalText, signedPercent, time } from "../core/format.js";

export const coinCell = (symbol) => h("a", { class: "strong bright", href: `/charts?coin=${encodeURIComponent(symbol)}` }, symbol);

export const modelCell = (id, name) => h("span", { class: "nowrap" }, swatch(modelColor(id)), h("a", { href: `/models/${id}`, class: "bright" }, name ?? t("Model %(id)s", { id })));

export const coinColumn = (key = "coin") => ({ key, label: t("Coin"), cell: (row) => coinCell(row[key]) });

export const timeColumn = (label = t("Time"), key = "timestamp", options = { seconds: true, date: "auto" }) => ({ key, label, cell: (row) => time(row[key], options) });

const modelColumn = (models) => (models ? [{ key: "model_id", label: t("Model"), value: (row) => models.get(row.model_id)?.name ?? "", cell: (row) => modelCell(row.model_id, models.get(row.model_id)?.name) }] : []);

export const priceColumn = (key, label, more = {}) => ({ key, label, align: "n", cell: (row) => price(row[key], row.coin ?? row.symbol), ...more });

export function tradeColumns({ models = null, short = false } = {}) {
  return [
    timeColumn(),
    ...modelColumn(models),
    coinColumn(),
    { key: "signal", label: t("Signal"), value: (row) => `${row.side} ${row.signal}`, cell: (row) => h("span", { title: signalText(row.signal) }, sideChip(row.side), ` ${fillText(row)}`) },
    ...(short ? [] : [{ key: "quantity", label: t("Quantity"), align: "n", cell: (row) => quantity(row.quantity) }]),
    priceColumn("price", t("Price")),
    { key: "pnl", label: t("P&L"), align: "n", hint: t("Net of fees and funding; a dash on an opening"), cell: (row) => (row.pnl === null || row.pnl === undefined ? DASH : pnl(row.pnl)) },
    ...(short ? [] : [
      { key: "fee", label: t("Fee"), align: "n", cell: (row) => money(row.fee) },
      { key: "margin", label: t("Leverage"), align: "n", value: (row) => row.leverage, cell: (row) => `${num(row.leverage, 1, 0)}×` },
    ]),
    { key: "reason", label: t("Reason"), value: (row) => reasonText(row.reason) },
  ];
}

export function positionColumns({ models = null } = {}) {
  return [
    ...modelColumn(models),
    coinColumn(),
    { key: "side", label: t("Side"), cell: (row) => h("span", { class: "nowrap" }, sideChip(row.side), ` ${num(row.leverage, 1, 0)}×`) },
    { key: "quantity", label: t("Quantity"), align: "n", cell: (row) => quantity(row.quantity) },
    priceColumn("avg_price", t("Entry")),
    priceColumn("current_price", t("Price"), { flash: true }),
    { key: "value", label: t("Value"), align: "n", hint: t("Margin and unrealised profit or loss"), cell: (row) => money(row.value) },
    { key: "unrealized_pnl", label: t("Unrealised P&L"), align: "n", hint: t("And in percent of the margin"),
      cell: (row) => h("span", null, pnl(row.unrealized_pnl), " ", h("span", { class: "label" }, signedPercent(pnlPercent(row)))) },
    priceColumn("liquidation_price", t("Liquidation"), { cell: (row) => (row.liquidation_price > 0 ? price(row.liquidation_price, row.coin) : DASH) }),
    { key: "stop_loss", label: t("Stop / target"), align: "n", sort: false, cell: (row) => h("span", { class: "nowrap" }, price(row.stop_loss, row.coin), " / ", price(row.take_profit, row.coin)) },
    timeColumn(t("Opened"), "opened_at", { date: "auto" }),
  ];
}

const pnlPercent = (row) => (row.margin > 0 ? (row.unrealized_pnl / row.margin) * 100 : null);

// A stop that a limit sets where none was asked for cuts nothing down.
const isCut = (verdict) => verdict.result === "clamp" && verdict.asked !== null;

export function outcomeChip(row) {
  const verdicts = row.verdicts ?? [];
  if (row.executed && verdicts.some(isCut)) return h("span", { class: "chip is-accent", title: t("Ordered, cut down to a limit") }, t("Clamped"));
  if (row.executed) return h("span", { class: "chip is-up" }, t("Ordered"));
  const no = verdicts.find((one) => one.result === "refuse");
  if (no) return h("span", { class: "chip is-warn", title: no.reason }, t("Refused"));
  return h("span", { class: "chip is-quiet" }, t("No order"));
}

export function decisionColumns({ models = null } = {}) {
  return [
    timeColumn(),
    ...modelColumn(models),
    coinColumn("symbol"),
    { key: "action", label: t("Decision"), cell: (row) => actionChip(row.action) },
    { key: "executed", label: t("Outcome"), value: (row) => Number(row.executed), cell: outcomeChip },
    { key: "reasoning", label: t("Why"), rest: true, sort: false, cell: (row) => row.reasoning || DASH },
  ];
}

const RULE = () => ({
  max_position_size_percent: t("Largest position"), max_leverage: t("Highest leverage"), max_open_positions: t("Most open positions"),
  max_gross_exposure_percent: t("Gross exposure"), min_confidence: t("Least confidence"), max_daily_trades: t("Opens a day"),
  max_daily_loss_percent: t("Daily loss"), stop_loss_percent: t("Stop-loss"), take_profit_percent: t("Take-profit"),
  stop_before_liquidation: t("Stop before liquidation"), coin_pool: t("Coins of the pool"), order_waiting: t("One order at a time"),
});
const RESULT = { pass: ["is-quiet", () => t("Pass")], clamp: ["is-accent", () => t("Clamped")], refuse: ["is-warn", () => t("Refused")] };

export function decisionDetails(row) {
  const facts = [
    [t("Size"), row.position_size_percent === null ? null : percent(row.position_size_percent)],
    [t("Leverage"), row.leverage === null ? null : `${num(row.leverage, 1, 0)}×`],
    [t("Confidence"), row.confidence === null ? null : percent(row.confidence, 0)],
    [t("Stop-loss"), row.stop_loss === null ? null : price(row.stop_loss, row.symbol)],
    [t("Take-profit"), row.take_profit === null ? null : price(row.take_profit, row.symbol)],
    [t("Tokens"), row.tokens ? int(row.tokens) : null],
    [t("Cost"), row.cost ? num(row.cost, 4) : null],
    [t("Took"), row.latency_ms ? duration(row.latency_ms / 1000) : null],
    [t("Orders"), row.order_ids?.length ? row.order_ids.join(", ") : null],
  ].filter(([, value]) => value !== null && value !== undefined);
  const names = RULE();
  return h("div", { class: "stack-1" },
    row.reasoning ? h("p", { class: "prewrap" }, row.reasoning) : null,
    facts.length ? h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", null, name), h("dd", null, value)])) : null,
    row.verdicts?.length
      ? h("div", { class: "table-scroll" }, h("table", { class: "data" }, h("caption", null, t("What each limit answered")),
        h("thead", null, h("tr", null, [[t("Limit")], [t("Answer")], [t("Asked"), "n"], [t("Allowed"), "n"], [t("Reason")]].map(([label, look]) => h("th", { scope: "col", class: look ?? null }, label)))),
        h("tbody", null, row.verdicts.map((one) => h("tr", null,
          h("td", null, names[one.rule] ?? one.rule),
          h("td", null, h("span", { class: `chip ${RESULT[one.result]?.[0] ?? ""}` }, one.result === "clamp" && !isCut(one) ? t("Set") : RESULT[one.result]?.[1]() ?? one.result)),
          h("td", { class: "n" }, num(one.asked, 2, 0)), h("td", { class: "n" }, num(one.allowed, 2, 0)), h("td", { class: "wrap" }, one.reason))))))
      : h("p", { class: "quiet" }, t("No limit was asked: nothing was to be opened.")));
}

export const statusChip = (status) => (status === "running" ? h("span", { class: "chip is-up" }, t("Running")) : h("span", { class: "chip is-warn" }, t("Paused")));
export { signedPercent };
