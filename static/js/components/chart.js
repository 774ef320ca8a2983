// Charts of everything but prices (Chart.js, drawn on a canvas: names in them are text by nature).
//
//   const chart = new TimeChart(box, { format: money, label: t("Equity by model"), fill: false })
//     log: true        a logarithmic axis of values      axisWidth: 72   charts above each other line up
//     max: 0           the highest value of the axis
//     days: true       x is a number of days, not a time
//   chart.set([{ name, color, points: [[ms, value], ...], dashed, area }])   x in the viewer's zone
//   new BarList(box, {label})   .set([{ label, value, text, color }])    horizontal bars as plain HTML
//   new Doughnut(box, { label, format })  .set([{ label, value, color }])
// `box` is an element with class "chart-box". Every chart has a text alternative in its aria-label.

import { fill, h } from "../core/dom.js";
import { localText, money, num } from "../core/format.js";
import { t } from "../core/i18n.js";
import { alpha, swatch, theme } from "../core/colors.js";

const FONT = getComputedStyle(document.body).fontFamily;
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

function defaults() {
  Chart.defaults.font.family = FONT;
  Chart.defaults.font.size = 12;
  Chart.defaults.color = theme.quiet;
  Chart.defaults.borderColor = theme.line;
  Chart.defaults.animation = false;
  Chart.defaults.maintainAspectRatio = false;
  Chart.defaults.plugins.legend.display = false;
  Object.assign(Chart.defaults.plugins.tooltip, {
    backgroundColor: "#1b2430", borderColor: "#2c3847", borderWidth: 1, titleColor: theme.quiet, bodyColor: theme.text, padding: 10,
    cornerRadius: 6, boxWidth: 8, boxHeight: 8, boxPadding: 4, titleFont: { weight: "normal" }, animation: still ? false : undefined,
  });
}
if (typeof Chart === "function") defaults();

const STEPS = [60e3, 300e3, 900e3, 1800e3, 3600e3, 3 * 3600e3, 6 * 3600e3, 12 * 3600e3, 86400e3, 2 * 86400e3, 7 * 86400e3, 14 * 86400e3, 30 * 86400e3, 91 * 86400e3, 182 * 86400e3, 365 * 86400e3];

const MONTHS = [1, 2, 3, 6, 12, 24, 60, 120];
const MONTH_MS = 30.44 * 86400e3;

// First days of months of the viewer's zone, as far apart as the width asks for.
function monthTicks(scale, wanted) {
  const { min, max } = scale;
  const step = MONTHS.find((months) => (max - min) / (months * MONTH_MS) <= wanted) ?? MONTHS[MONTHS.length - 1];
  const first = new Date(min);
  const ticks = [];
  let month = Math.ceil((first.getFullYear() * 12 + first.getMonth()) / step) * step;
  for (let at = new Date(Math.floor(month / 12), month % 12, 1).getTime(); at <= max; month += step, at = new Date(Math.floor(month / 12), month % 12, 1).getTime()) {
    if (at >= min) ticks.push({ value: at });
  }
  scale.curlewStep = step * MONTH_MS;
  scale.ticks = ticks;
}

// Ticks at round times of the viewer's zone.
function timeTicks(scale) {
  const { min, max } = scale;
  const wanted = Math.max(2, Math.floor(scale.width / 96));
  if ((max - min) / wanted > 14 * 86400e3) {
    monthTicks(scale, Math.max(3, Math.floor(scale.width / 80)));
    return;
  }
  const step = STEPS.find((size) => (max - min) / size <= wanted) ?? STEPS[STEPS.length - 1];
  const shift = new Date(max).getTimezoneOffset() * 60e3;
  const ticks = [];
  for (let at = Math.ceil((min - shift) / step) * step + shift; at <= max; at += step) ticks.push({ value: at });
  scale.curlewStep = step;
  scale.ticks = ticks;
}

// 1, 2, 5 times powers of ten: round numbers at distances that grow. Where they are too few, finer ones.
function logTicks(scale) {
  const { min, max } = scale;
  const made = (steps) => {
    const ticks = [];
    for (let power = Math.floor(Math.log10(min)); power <= Math.ceil(Math.log10(max)); power += 1) {
      for (const step of steps) {
        const value = step * 10 ** power;
        if (value >= min && value <= max) ticks.push({ value });
      }
    }
    return ticks;
  };
  scale.ticks = [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 7], [1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9]]
    .map(made).find((ticks) => ticks.length >= 4) ?? scale.ticks;
}

function tickText(ms, step) {
  const date = new Date(ms);
  if (step >= 12 * MONTH_MS) return String(date.getFullYear());
  if (step >= 28 * 86400e3) return new Intl.DateTimeFormat(document.documentElement.lang, { month: "short", year: "numeric" }).format(date);
  const atMidnight = date.getHours() === 0 && date.getMinutes() === 0;
  if (step >= 86400e3 || atMidnight) return new Intl.DateTimeFormat(document.documentElement.lang, { month: "short", day: "2-digit" }).format(date);
  return new Intl.DateTimeFormat(document.documentElement.lang, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(date);
}

const crosshair = {
  id: "crosshair",
  afterDatasetsDraw(chart) {
    const active = chart.tooltip?.getActiveElements?.() ?? [];
    if (!active.length) return;
    const { ctx, chartArea } = chart;
    const x = active[0].element.x;
    ctx.save();
    ctx.strokeStyle = "#3a4a5d";
    ctx.setLineDash([3, 3]);
    ctx.beginPath();
    ctx.moveTo(x, chartArea.top);
    ctx.lineTo(x, chartArea.bottom);
    ctx.stroke();
    ctx.restore();
  },
};

export class TimeChart {
  constructor(box, { format = money, axisFormat = (x) => num(x, 0), label = "", legend = true, zero = false, log = false, axisWidth = null, days = false, max = undefined } = {}) {
    this.legend = legend ? h("ul", { class: "legend" }) : null;
    this.canvas = h("canvas", { role: "img", "aria-label": label });
    this.label = label;
    this.format = format;
    if (this.legend) box.before(this.legend);
    fill(box, this.canvas);
    this.chart = new Chart(this.canvas, {
      type: "line",
      data: { datasets: [] },
      plugins: [crosshair],
      options: {
        parsing: false,
        normalized: true,
        interaction: { mode: "nearest", axis: "x", intersect: false },
        elements: { point: { radius: 0, hoverRadius: 3, hitRadius: 8 }, line: { borderWidth: 1.75, tension: 0 } },
        scales: {
          x: { type: "linear", ...(days ? {} : { afterBuildTicks: timeTicks }), grid: { color: theme.line, tickLength: 4 }, border: { color: theme.line },
            ticks: { maxRotation: 0, autoSkip: days, callback(value) { return days ? t("day %(n)s", { n: num(value, 0) }) : tickText(value, this.curlewStep); } } },
          y: { type: log ? "logarithmic" : "linear", position: "right", max, beginAtZero: zero, ...(log ? { afterBuildTicks: logTicks } : { grace: "4%" }),
            ...(axisWidth ? { afterFit: (axis) => (axis.width = axisWidth) } : {}), grid: { color: theme.line, tickLength: 0 }, border: { display: false },
            ticks: { maxTicksLimit: 7, padding: 8, callback: (value) => axisFormat(value) } },
        },
        plugins: {
          tooltip: {
            callbacks: {
              title: (items) => (items.length ? (days ? t("day %(n)s", { n: num(items[0].parsed.x, 0) }) : localText(items[0].parsed.x, { seconds: false })) : ""),
              label: (item) => ` ${item.dataset.label}  ${this.format(item.parsed.y)}`,
            },
          },
          decimation: { enabled: true, algorithm: "lttb", samples: 800, threshold: 1600 },
        },
      },
    });
  }

  set(lines) {
    this.chart.data.datasets = lines.map((line) => ({
      label: line.name,
      data: line.points.map(([x, y]) => ({ x, y })),
      borderColor: line.color,
      backgroundColor: line.area ? alpha(line.color, 0.12) : line.color,
      fill: line.area ? (line.areaTo ?? "origin") : false,
      borderDash: line.dashed ? [5, 4] : [],
      borderWidth: line.width ?? 1.75,
      stepped: line.stepped ?? false,
    }));
    const all = lines.flatMap((line) => (line.points.length ? [line.points[0][0], line.points[line.points.length - 1][0]] : []));
    this.chart.options.scales.x.min = all.length ? Math.min(...all) : undefined;
    this.chart.options.scales.x.max = all.length ? Math.max(...all) : undefined;
    // an hour of life is a flat line on an axis of a cent: keep a sensible height
    this.chart.update("none");
    const said = lines.filter((line) => line.points.length).map((line) => `${line.name}: ${this.format(line.points[line.points.length - 1][1])}`);
    this.canvas.setAttribute("aria-label", [this.label, ...said].join(". "));
    if (this.legend) {
      fill(this.legend, lines.map((line) => h("li", null, swatch(line.color), h("span", { class: "clip" }, line.name))));
    }
  }

  destroy() {
    this.chart.destroy();
    this.legend?.remove();
  }
}

export class Doughnut {
  constructor(box, { label = "", format = money } = {}) {
    this.label = label;
    this.format = format;
    this.canvas = h("canvas", { role: "img", "aria-label": label });
    fill(box, this.canvas);
    this.chart = new Chart(this.canvas, {
      type: "doughnut",
      data: { labels: [], datasets: [{ data: [], backgroundColor: [], borderColor: theme.panel, borderWidth: 2, hoverOffset: 2 }] },
      options: {
        cutout: "68%",
        plugins: { tooltip: { callbacks: { label: (item) => ` ${item.label}  ${this.format(item.parsed)}` } } },
      },
    });
  }

  set(parts) {
    this.chart.data.labels = parts.map((part) => part.label);
    this.chart.data.datasets[0].data = parts.map((part) => part.value);
    this.chart.data.datasets[0].backgroundColor = parts.map((part) => part.color);
    this.chart.update("none");
    this.canvas.setAttribute("aria-label", [this.label, ...parts.map((part) => `${part.label}: ${this.format(part.value)}`)].join(". "));
  }

  destroy() {
    this.chart.destroy();
  }
}

export function meter(share, color) {
  const width = `${Math.max(0, Math.min(1, share || 0)) * 100}%`;
  return h("span", { class: "bar-meter", "aria-hidden": "true" }, h("span", { style: { width, ...(color ? { backgroundColor: color } : {}) } }));
}
