// A rule set in words, with the texts of GET /api/strategies/schema.
//
//   const words = new RuleWords(schema)
//   words.condition(condition)          "RSI (14) crosses above 30"
//   words.sides(direction)              what buying and selling do: { buy, sell }
//   words.summary(ruleset)              nodes: both sides, and what is worth a warning
//   words.indicators()                  [[name, definition]] in the order of the menu
//   words.signals(indicator)            [{const, title, description, x-params}]
//   words.param(indicator, name)        its schema

import { h } from "../core/dom.js";
import { t } from "../core/i18n.js";

// What each signal says, as people would. `kind`: the average's name. Silent for an indicator that came later:
// then its own texts are put together.
const compared = (what, line) => ({
  cross_above: t("%(what)s crosses above %(line)s", { what, line }), cross_below: t("%(what)s crosses below %(line)s", { what, line }),
  above: t("%(what)s is above %(line)s", { what, line }), below: t("%(what)s is below %(line)s", { what, line }),
});
const average = (kind, p) => {
  const line = t("the %(period)s-bar %(kind)s", { period: p.period, kind });
  const fast = t("the %(period)s-bar %(kind)s", { period: p.fast, kind });
  const slow = t("the %(period)s-bar one", { period: p.slow });
  return {
    ...compared(t("the close"), line), golden_cross: compared(fast, slow).cross_above, death_cross: compared(fast, slow).cross_below,
    bullish_alignment: t("the %(kind)ss of %(periods)s bars stand in order, the shortest on top", { kind, periods: p.periods }),
    bearish_alignment: t("the %(kind)ss of %(periods)s bars stand in order, the shortest at the bottom", { kind, periods: p.periods }),
  };
};
const oscillator = (name, p) => ({
  ...compared(name, p.level), overbought: t("%(name)s is at or above %(level)s", { name, level: p.high }), oversold: t("%(name)s is at or below %(level)s", { name, level: p.low }),
  bullish_divergence: t("%(name)s rises between two lows while the price falls", { name }), bearish_divergence: t("%(name)s falls between two highs while the price rises", { name }),
});
const BANDS = () => ({ upper: t("upper"), middle: t("middle"), lower: t("lower") });
const SENTENCES = {
  MA: (p) => average(t("simple average"), p),
  EMA: (p) => average(t("exponential average"), p),
  MACD: (p) => {
    const line = t("the MACD line (%(fast)s, %(slow)s)", p);
    const signal = t("its signal line (%(signal)s)", p);
    return { ...oscillator(line, { level: t("zero") }), golden_cross: compared(line, signal).cross_above, death_cross: compared(line, signal).cross_below };
  },
  KDJ: (p) => {
    const k = t("K of KDJ (%(n)s, %(k)s, %(d)s)", p);
    return { ...oscillator(k, p), golden_cross: compared(k, "D").cross_above, death_cross: compared(k, "D").cross_below };
  },
  BOLL: (p) => {
    const band = (name) => t("the %(band)s Bollinger band (%(period)s bars, %(stddev)s deviations)", { ...p, band: BANDS()[name] ?? name });
    return { ...compared(t("the close"), band(p.band)), breakout_up: compared(t("the close"), band("upper")).cross_above, breakout_down: compared(t("the close"), band("lower")).cross_below };
  },
  RSI: (p) => oscillator(t("RSI (%(period)s)", p), p),
  CCI: (p) => oscillator(t("CCI (%(period)s)", p), p),
  BBI: (p) => compared(t("the close"), t("BBI (%(periods)s)", p)),
  ATR: (p) => ({
    breakout_up: t("the close jumps up by more than %(factor)s × ATR (%(period)s)", p), breakout_down: t("the close drops by more than %(factor)s × ATR (%(period)s)", p),
  }),
  VOLUME: (p) => ({ above: t("the volume is over %(factor)s times the mean of the %(period)s bars before", p) }),
  PATTERN: (p) => ({ bullish: t("the pattern %(name)s appears, bullish", p), bearish: t("the pattern %(name)s appears, bearish", p) }),
};

const lower = (text) => text.charAt(0).toLowerCase() + text.slice(1);

export class RuleWords {
  constructor(schema) {
    this.defs = schema.$defs;
    this.names = schema.$defs.condition.oneOf.map((one) => one.$ref.split("/").pop());
  }

  indicators() {
    return this.names.map((name) => [name, this.defs[name]]);
  }

  signals(indicator) {
    return this.defs[indicator]?.properties.signal_type.oneOf ?? [];
  }

  signal(indicator, name) {
    return this.signals(indicator).find((one) => one.const === name);
  }

  param(indicator, name) {
    return this.defs[indicator].properties.params.properties[name];
  }

  // Acronyms keep their capitals; "Golden cross" inside a sentence does not.
  condition({ indicator_type: indicator, signal_type: signal, params }) {
    const found = this.signal(indicator, signal);
    if (!found) return `${indicator}: ${signal}`;
    const shown = Object.fromEntries(Object.entries(params).map(([name, value]) => [name, this.#value(value)]));
    const sentence = SENTENCES[indicator]?.(shown)[signal];
    if (sentence) return sentence;
    const values = found["x-params"].map((name) => `${lower(this.param(indicator, name).title)} ${this.#value(params[name])}`);
    return `${this.defs[indicator].title}${values.length ? ` (${values.join(", ")})` : ""}: ${lower(found.title)}`;
  }

  #value(value) {
    return Array.isArray(value) ? value.join("/") : value ?? "?";
  }

  sides(direction) {
    return {
      long: { buy: t("opens a long"), sell: t("closes the long") },
      short: { buy: t("closes the short"), sell: t("opens a short") },
      both: { buy: t("closes a short and opens a long"), sell: t("closes a long and opens a short") },
    }[direction];
  }

  summary(ruleset) {
    const does = this.sides(ruleset.direction);
    return [
      this.#side(t("Buys"), does.buy, ruleset.buy_groups, t("Never buys: this side has no conditions.")),
      this.#side(t("Sells"), does.sell, ruleset.sell_groups, t("Never sells: this side has no conditions.")),
      this.#warnings(ruleset).map((text) => h("p", { class: "warn" }, text)),
    ];
  }

  #side(verb, does, groups, never) {
    const full = groups.filter((group) => group.conditions.length);
    if (!full.length) return h("p", null, never);
    return [
      h("p", null, h("b", null, verb), ` (${does}) `, full.length > 1 ? t("when any of these holds:") : t("when:")),
      h("ul", null, full.map((group) => h("li", null, group.conditions.map((condition, index) => [
        index ? h("b", { class: "joiner" }, group.logic === "AND" ? t("and") : t("or")) : null, this.condition(condition),
      ])))),
    ];
  }

  #warnings({ direction, buy_groups: buy, sell_groups: sell }) {
    const enters = direction === "short" ? sell.length : direction === "long" ? buy.length : buy.length + sell.length;
    if (!enters) return [t("As it stands it never opens a position.")];
    if (direction === "both" ? buy.length && sell.length : buy.length && sell.length) return [];
    return [t("No signal ever closes what it opens: a position ends by a stop or a target only.")];
  }
}
