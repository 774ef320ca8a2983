// Backtests side by side: equity on one scale, what was asked differently, what came of it.

import { $, h, pageData } from "../core/dom.js";
import { api } from "../core/api.js";
import { signedPercent } from "../core/format.js";
import { t } from "../core/i18n.js";
import { live } from "../core/live.js";
import { modelColor, swatch } from "../core/colors.js";
import { Panel, resource } from "../components/panel.js";
import { DataTable } from "../components/table.js";
import { TimeChart } from "../components/chart.js";
import { segmented } from "../components/form.js";
import { BETTER, FIGURES, settingRows } from "../components/backtestcells.js";

const choose = { label: t("Choose runs"), href: "/backtest" };
const panels = ["#compare-equity", "#compare-settings", "#compare-figures"].map((id) => new Panel(id, { empty: { text: t("Choose two or more finished runs in the list of backtests."), action: choose } }));
const ids = pageData().ids;
let scale = "shared";

// -- the chart ----------------------------------------------------------------------------------

let chart = null;
const DAY_MS = 86_400_000;
const share = (run) => run.report.account_values.map((point) => [point.timestamp, (point.value / run.report.settings.initial_capital - 1) * 100]);
const fromStart = (points) => points.map(([at, value]) => [(at - points[0][0]) / DAY_MS, value]);

function drawChart(runs) {
  chart?.destroy();
  const days = scale === "days";
  chart = new TimeChart($("#compare-chart"), { label: t("Equity in percent of the capital"), format: (x) => signedPercent(x), axisFormat: (x) => signedPercent(x, 0), days });
  chart.set(runs.map((run, index) => ({ name: run.name, color: modelColor(index + 1), points: days ? fromStart(share(run)) : share(run), width: 1.75 })));
}

// -- the tables ---------------------------------------------------------------------------------

const head = (run, index) => ({ key: `run${index}`, label: t("Run %(id)s", { id: run.id }) });
const nameOf = (run, index) => h("span", null, swatch(modelColor(index + 1)), h("a", { class: "bright", href: run.url }, run.name));

function runsRow(runs) {
  return { id: "runs", name: t("Name"), cells: runs.map(nameOf) };
}

let settingsTable = null;

function drawSettings(runs) {
  const all = runs.map((run) => settingRows(run.report.settings));
  const rows = all[0].map(([name], index) => {
    const texts = all.map((list) => list[index][1]);
    return { id: name, name, cells: texts, differs: new Set(texts).size > 1 };
  });
  const differing = rows.filter((row) => row.differs);
  const shown = $("#only-different").checked ? differing : [...differing, ...rows.filter((row) => !row.differs)];
  settingsTable ??= table($("#compare-settings-table"), t("Settings of the runs"), runs, "");
  settingsTable.setRows([runsRow(runs), ...shown]);
  panels[1].ready();
}

function table(box, caption, runs, align) {
  return new DataTable(box, {
    caption, rowClass: (row) => (row.differs ? "is-different" : null),
    columns: [{ key: "name", label: "", aria: t("Figure"), sort: false, cell: (row) => h("span", { class: "quiet" }, row.name) },
      ...runs.map((run, index) => ({ ...head(run, index), sort: false, align, wrap: align === "", cell: (row) => row.cells[index] }))],
  });
}

function drawFigures(runs) {
  const rows = FIGURES().map(([key, label, text, look]) => {
    const values = runs.map((run) => run.report.summary[key] ?? null);
    const known = values.filter((value) => typeof value === "number");
    const best = BETTER[key] && new Set(known).size > 1 ? Math[BETTER[key]](...known) : null;
    const cells = values.map((value) => h("span", { class: `num ${look && typeof value === "number" ? look(value) : ""}${value !== null && value === best ? " strong" : ""}` }, text(value), value !== null && value === best ? h("span", { class: "best", title: t("best of the row") }, " ★") : null));
    return { id: key, name: label, cells };
  });
  table($("#compare-figures-table"), t("Results of the runs"), runs, "n").setRows([runsRow(runs), ...rows]);
}

// -- reading ------------------------------------------------------------------------------------

async function readRun(id, signal) {
  try {
    return await api.get(`/api/backtests/${id}`, null, { signal });
  } catch (error) {
    if (error.status === 404) return null; // deleted since the list was read
    throw error;
  }
}

const comparison = resource({
  panels,
  read: async (signal) => (await Promise.all(ids.map((id) => readRun(id, signal)))).filter((run) => run?.report),
  isEmpty: (runs) => runs.length < 2,
  source: (runs) => ({ source: runs.map((run) => t("run %(id)s", { id: run.id })).join(", ") }),
  paint: (runs) => {
    const spans = new Set(runs.map((run) => `${run.report.settings.start_ms} ${run.report.settings.end_ms}`));
    const box = $("#compare-scale");
    box.hidden = spans.size < 2;
    if (spans.size > 1) {
      segmented(box, [{ value: "shared", label: t("By date") }, { value: "days", label: t("By day since the start") }], scale, (chosen) => {
        scale = chosen;
        drawChart(runs);
      });
    }
    drawChart(runs);
    drawSettings(runs);
    drawFigures(runs);
    $("#only-different").onchange = () => drawSettings(runs);
  },
});
comparison.refresh();
live.subscribe({ channels: ["status"] });
