// Candles with volume, and the marks of trades (Lightweight Charts, drawn on a canvas).
//
//   const chart = new PriceChart(box, { label, onOlder: () => ..., onMark: (mark) => ..., onHover: (bar) => ... })
//   chart.setInterval("1h")  chart.setTick(0.01)
//   chart.setBars(bars, { fit: true })     [{timestamp, open, high, low, close, volume}] oldest first
//   chart.prepend(olderBars)   chart.update(bar)   chart.bars
//   chart.setMarks([{ time: ms, side: "buy" | "sell", text, data, color, shape: "circle" }])   arrows by side unless said
//   chart.showTime(ms)  chart.setLines([{ price, color, title }])  chart.destroy()
// Times on the axis are in the viewer's zone; bars of a day or longer are named by their UTC day.

import { h, fill } from "../core/dom.js";
import { compact, localText, priceDigits, tickDigits, utc } from "../core/format.js";
import { locale, t } from "../core/i18n.js";
import { alpha, theme } from "../core/colors.js";

const DAY_MS = 86_400_000;
const STEPS = { "1m": 60e3, "3m": 180e3, "5m": 300e3, "15m": 900e3, "30m": 1800e3, "1h": 3600e3, "2h": 7200e3, "4h": 4 * 3600e3, "6h": 6 * 3600e3, "8h": 8 * 3600e3, "12h": 12 * 3600e3, "1d": DAY_MS, "3d": 3 * DAY_MS, "1w": 7 * DAY_MS };
const OLDER_WITHIN_BARS = 30;
const MOST_BARS = 20_000;

export const stepOf = (interval) => STEPS[interval] ?? 3600e3;

// Stored candles of a venue whose tick nobody told: the digits that its prices are written with.
function digitsOf(bars) {
  const decimals = (x) => (String(x).split(".")[1] ?? "").length;
  const most = Math.max(0, ...bars.map((bar) => Math.max(decimals(bar.open), decimals(bar.close))));
  return Math.min(10, Math.max(most, bars.length ? 0 : priceDigits(undefined)));
}

const dayFormat = (options) => new Intl.DateTimeFormat(locale, options);

export class PriceChart {
  constructor(box, { label = "", onOlder = null, onMark = null, onHover = null } = {}) {
    this.bars = [];
    this.marks = [];
    this.lines = [];
    this.interval = "1h";
    this.onOlder = onOlder;
    this.onMark = onMark;
    this.onHover = onHover;
    this.canvas = h("div", { class: "canvas", role: "img", "aria-label": label });
    this.legend = h("div", { class: "price-legend" });
    fill(box, h("div", { class: "price-chart h-100" }, this.canvas, this.legend, this.#attribution()));
    this.#create();
  }

  #attribution() {
    return h("a", { class: "tv-attribution", href: "https://www.tradingview.com/", target: "_blank", rel: "noopener", title: t("Charting by TradingView") },
      h("img", { src: "/static/img/tradingview.svg", alt: t("Charting by TradingView"), width: "35", height: "19" }));
  }

  #create() {
    const lc = LightweightCharts;
    this.chart = lc.createChart(this.canvas, {
      autoSize: true,
      // The library's own logo comes with a <style> element, which the CSP refuses: ours is the same one.
      layout: { background: { color: theme.panel }, textColor: theme.quiet, fontSize: 12, fontFamily: getComputedStyle(document.body).fontFamily, attributionLogo: false, panes: { separatorColor: theme.line } },
      grid: { vertLines: { color: alpha(theme.line, 0.6) }, horzLines: { color: alpha(theme.line, 0.6) } },
      rightPriceScale: { borderColor: theme.line },
      crosshair: { mode: lc.CrosshairMode.Normal, vertLine: { labelBackgroundColor: "#2c3847" }, horzLine: { labelBackgroundColor: "#2c3847" } },
      timeScale: { borderColor: theme.line, timeVisible: true, secondsVisible: false, rightOffset: 6, tickMarkFormatter: (seconds, kind) => this.#tickText(seconds, kind) },
      localization: { locale, timeFormatter: (seconds) => this.#timeText(seconds * 1000) },
    });
    this.candles = this.chart.addSeries(lc.CandlestickSeries, {
      upColor: theme.up, downColor: theme.down, borderVisible: false, wickUpColor: theme.up, wickDownColor: theme.down,
    });
    this.volume = this.chart.addSeries(lc.HistogramSeries, { priceFormat: { type: "volume" }, priceScaleId: "volume", lastValueVisible: false, priceLineVisible: false });
    this.chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.candles.priceScale().applyOptions({ scaleMargins: { top: 0.1, bottom: 0.22 } });
    this.markers = lc.createSeriesMarkers(this.candles, []);
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range && range.from < OLDER_WITHIN_BARS && this.bars.length) this.onOlder?.();
      if (!this.hovering) this.#showLegend(null);
    });
    this.chart.subscribeCrosshairMove((move) => this.#hover(move));
    this.chart.subscribeClick((click) => this.#click(click));
  }

  #timeText(ms) {
    if (stepOf(this.interval) >= DAY_MS) return dayFormat({ year: "numeric", month: "short", day: "2-digit", timeZone: "UTC" }).format(ms);
    return localText(ms, { year: true });
  }

  #tickText(seconds, kind) {
    const ms = seconds * 1000;
    const zone = stepOf(this.interval) >= DAY_MS ? { timeZone: "UTC" } : {};
    const styles = [{ year: "numeric" }, { month: "short" }, { day: "numeric", month: "short" }];
    if (kind <= 2) return dayFormat({ ...styles[kind], ...zone }).format(ms);
    return dayFormat({ hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...zone }).format(ms);
  }

  setInterval(interval) {
    this.interval = interval;
    this.chart.timeScale().applyOptions({ timeVisible: stepOf(interval) < DAY_MS });
  }

  setTick(tick) {
    this.tick = tick;
    this.#applyDigits();
  }

  #applyDigits() {
    const digits = tickDigits(this.tick) ?? digitsOf(this.bars.slice(-200));
    this.digits = digits;
    const format = new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });
    // The room below low prices is the volume's: no price is negative.
    this.candles.applyOptions({ priceFormat: { type: "custom", minMove: 10 ** -digits, formatter: (x) => (x < 0 ? "" : format.format(x)) } });
  }

  #candle(bar) {
    return { time: bar.timestamp / 1000, open: bar.open, high: bar.high, low: bar.low, close: bar.close };
  }

  #column(bar) {
    return { time: bar.timestamp / 1000, value: bar.volume, color: alpha(bar.close >= bar.open ? theme.up : theme.down, 0.35) };
  }

  #draw() {
    this.candles.setData(this.bars.map((bar) => this.#candle(bar)));
    this.volume.setData(this.bars.map((bar) => this.#column(bar)));
  }

  setBars(bars, { fit = true, count = 160 } = {}) {
    this.bars = [...bars];
    this.#applyDigits();
    this.#draw();
    this.setMarks(this.marks);
    if (fit && bars.length) this.chart.timeScale().setVisibleLogicalRange({ from: Math.max(-2, bars.length - count), to: bars.length + 5 });
    this.#showLegend(null);
  }

  prepend(older) {
    const first = this.bars[0]?.timestamp ?? Infinity;
    const fresh = older.filter((bar) => bar.timestamp < first);
    if (!fresh.length) return 0;
    const range = this.chart.timeScale().getVisibleLogicalRange();
    this.bars = [...fresh, ...this.bars];
    this.#draw();
    this.setMarks(this.marks);
    if (range) this.chart.timeScale().setVisibleLogicalRange({ from: range.from + fresh.length, to: range.to + fresh.length });
    return fresh.length;
  }

  update(bar) {
    const last = this.bars[this.bars.length - 1];
    if (last && bar.timestamp < last.timestamp) return;
    if (last?.timestamp === bar.timestamp) this.bars[this.bars.length - 1] = bar;
    else this.bars.push(bar);
    this.candles.update(this.#candle(bar));
    this.volume.update(this.#column(bar));
    if (this.bars.length > MOST_BARS) this.#forget();
    if (!this.hovering) this.#showLegend(null);
  }

  // A page that stays open for weeks must not keep every bar: the oldest go, unless somebody looks at them.
  #forget() {
    const extra = this.bars.length - MOST_BARS / 2;
    const range = this.chart.timeScale().getVisibleLogicalRange();
    if (!range || range.from < extra + OLDER_WITHIN_BARS) return;
    this.bars = this.bars.slice(extra);
    this.#draw();
    this.setMarks(this.marks);
    this.chart.timeScale().setVisibleLogicalRange({ from: range.from - extra, to: range.to - extra });
  }

  setMarks(marks) {
    this.marks = marks;
    const first = this.bars[0]?.timestamp;
    if (first === undefined) {
      this.markers.setMarkers([]);
      return;
    }
    // A mark belongs to the bar that holds its time.
    const times = this.bars.map((bar) => bar.timestamp);
    const barOf = (ms) => {
      let low = 0;
      let high = times.length - 1;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (times[middle] <= ms) low = middle;
        else high = middle - 1;
      }
      return times[low];
    };
    const step = stepOf(this.interval);
    const end = times[times.length - 1] + step;
    this.placed = marks.filter((mark) => mark.time >= first && mark.time < end)
      .map((mark, index) => ({ ...mark, bar: barOf(mark.time), id: String(index) }))
      .sort((a, b) => a.bar - b.bar);
    this.markers.setMarkers(this.placed.map((mark) => ({
      time: mark.bar / 1000, id: mark.id, text: mark.text ?? "",
      position: mark.side === "buy" ? "belowBar" : "aboveBar", shape: mark.shape ?? (mark.side === "buy" ? "arrowUp" : "arrowDown"),
      color: mark.color ?? (mark.side === "buy" ? theme.up : theme.down),
    })));
  }

  setLines(lines) {
    for (const line of this.lines) this.candles.removePriceLine(line);
    this.lines = lines.map((line) => this.candles.createPriceLine({ lineWidth: 1, lineStyle: LightweightCharts.LineStyle.Dashed, axisLabelVisible: true, ...line }));
  }

  showTime(ms, around = 60) {
    const at = this.bars.findIndex((bar) => bar.timestamp + stepOf(this.interval) > ms);
    if (at >= 0) this.chart.timeScale().setVisibleLogicalRange({ from: at - around, to: at + around });
  }

  #barAt(seconds) {
    const ms = seconds * 1000;
    let low = 0;
    let high = this.bars.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      if (this.bars[middle].timestamp === ms) return this.bars[middle];
      if (this.bars[middle].timestamp < ms) low = middle + 1;
      else high = middle - 1;
    }
    return null;
  }

  #hover(move) {
    const bar = move.time === undefined ? null : this.#barAt(move.time);
    this.hovering = bar !== null;
    this.#showLegend(bar);
    this.onHover?.(bar);
  }

  // The bar under the pointer, else the last one in sight.
  #showLegend(hovered) {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    const lastSeen = range ? Math.max(0, Math.min(this.bars.length - 1, Math.floor(range.to))) : this.bars.length - 1;
    const bar = hovered ?? this.bars[lastSeen];
    if (!bar) {
      fill(this.legend);
      return;
    }
    const look = bar.close >= bar.open ? "up" : "down";
    const part = (name, value) => h("span", null, `${name} `, h("b", { class: `num ${look}` }, value));
    const digits = (x) => new Intl.NumberFormat(locale, { minimumFractionDigits: this.digits, maximumFractionDigits: this.digits }).format(x);
    fill(this.legend, h("span", { title: utc(bar.timestamp) }, this.#timeText(bar.timestamp)), part(t("O"), digits(bar.open)), part(t("H"), digits(bar.high)),
      part(t("L"), digits(bar.low)), part(t("C"), digits(bar.close)), h("span", null, t("Vol"), " ", h("b", { class: "num" }, compact(bar.volume))));
  }

  #click(click) {
    const id = click.hoveredObjectId ?? click.hoveredInfo?.objectId;
    const hit = id !== undefined ? this.placed?.find((mark) => mark.id === String(id)) : null;
    // Arrows are small: a click anywhere on their bar counts too.
    const near = hit ?? (click.time === undefined ? null : this.placed?.filter((mark) => mark.bar === click.time * 1000).at(-1));
    if (near) this.onMark?.(near);
  }

  destroy() {
    this.chart.remove();
  }
}
