// Data: what is stored, its gaps, and import by upload.

import { $, fill, h, pageData } from "../core/dom.js";
import { ApiError, api } from "../core/api.js";
import { DASH, compact, day, duration, int, num, utc } from "../core/format.js";
import { ngettext, t } from "../core/i18n.js";
import { live } from "../core/live.js";
import { Panel, resource } from "../components/panel.js";
import { DataTable } from "../components/table.js";
import { clearProblems, readForm, showProblem } from "../components/form.js";
import { ask } from "../components/dialog.js";
import { toast } from "../components/toast.js";

const MB = 1024 * 1024;
const GAPS_SHOWN = 200;

// -- stored series ------------------------------------------------------------------------------

const seriesPanel = new Panel("#series", { empty: { text: t("No candles are stored yet. Import files above, or with: flask candles import PATH"), action: { label: t("Choose files"), onclick: () => $("#files").click() } } });
const filters = { search: $("#series-search"), place: $("#series-place"), interval: $("#series-interval") };
const keyOf = (row) => `${row.venue} ${row.market} ${row.symbol} ${row.interval}`;
const queryOf = ({ venue, market, symbol, interval }) => ({ venue, market, symbol, interval });
const placeOf = (row) => `${row.venue} ${row.market}`;
const STEP_MINUTES = { m: 1, h: 60, d: 1440, w: 10_080 };
const minutes = (interval) => parseInt(interval, 10) * STEP_MINUTES[interval.at(-1)];

const when = (row, key) => h("span", { class: "num", title: utc(row[key]) }, day(row[key]));
const chartLink = (row) => `/charts?${new URLSearchParams({ coin: row.coin ?? row.symbol, interval: row.interval, venue: row.venue, market: row.market })}`;

function gapsOf(row) {
  const box = h("div", { role: "status" }, t("Loading…"));
  if (!row.gaps) {
    fill(box, t("No gaps: every candle from %(first)s to %(last)s is here.", { first: utc(row.first), last: utc(row.last) }));
    return box;
  }
  api.get("/api/candles/gaps", queryOf(row)).then((gaps) => {
    const missing = gaps.reduce((sum, gap) => sum + gap.bars, 0);
    fill(box,
      h("p", { class: "quiet" }, ngettext("%(num)s place where candles are missing", "%(num)s places where candles are missing", gaps.length), ", ", ngettext("%(num)s candle in all", "%(num)s candles in all", missing, { num: int(missing) }), gaps.length > GAPS_SHOWN ? t("; the first %(n)s:", { n: GAPS_SHOWN }) : ":"),
      h("ul", { class: "gap-list plain" }, gaps.slice(0, GAPS_SHOWN).map((gap) => h("li", null,
        h("span", { class: "num" }, gap.bars === 1 ? utc(gap.first) : `${utc(gap.first)} – ${utc(gap.last)}`), " ",
        h("span", { class: "quiet" }, ngettext("%(num)s candle", "%(num)s candles", gap.bars, { num: int(gap.bars) }), `, ${duration(gap.bars * minutes(row.interval) * 60)}`)))));
  }).catch((error) => {
    if (error.name !== "ApiError") throw error;
    fill(box, h("span", { class: "down" }, error.message));
  });
  return box;
}

async function remove(row) {
  const name = keyOf(row);
  const sure = await ask({
    title: t("Delete these candles?"), confirm: t("Delete candles"), risky: true,
    text: [t("%(rows)s candles of %(name)s, from %(first)s to %(last)s, are deleted.", { rows: int(row.rows), name, first: day(row.first), last: day(row.last) }), t("To have them back they must be imported again. Reports of backtests stay.")],
  });
  if (!sure) return;
  try {
    await api.del(`/api/candles?${new URLSearchParams(queryOf(row))}`);
    toast(t("%(name)s is deleted.", { name }));
  } catch (error) {
    if (error.name !== "ApiError") throw error;
    toast(error.message, "bad");
  }
  series.refresh();
}

const table = new DataTable($("#series-table"), {
  caption: t("Stored candles"), rowKey: keyOf, stack: true, limit: 100, tall: true, expand: gapsOf,
  columns: [
    { key: "venue", label: t("Venue") },
    { key: "market", label: t("Market") },
    { key: "symbol", label: t("Symbol"), cell: (row) => h("span", { class: "strong bright" }, row.symbol) },
    { key: "interval", label: t("Interval"), value: (row) => minutes(row.interval), cell: (row) => row.interval },
    { key: "rows", label: t("Candles"), align: "n", cell: (row) => int(row.rows) },
    { key: "first", label: t("First"), cell: (row) => when(row, "first") },
    { key: "last", label: t("Last"), cell: (row) => when(row, "last") },
    { key: "gaps", label: t("Gaps"), align: "n", hint: t("places where candles are missing; open the row to see them"), cell: (row) => h("span", { class: row.gaps ? "warn" : "quiet" }, int(row.gaps)) },
    { key: "actions", label: "", aria: t("Actions"), align: "n", cell: (row) => h("span", { class: "row-actions" },
      h("a", { class: "btn btn-plain btn-sm", href: chartLink(row), "aria-label": t("Chart of %(name)s", { name: keyOf(row) }) }, t("Chart")),
      h("button", { type: "button", class: "btn btn-risky btn-sm", "aria-label": t("Delete %(name)s", { name: keyOf(row) }), onclick: () => remove(row) }, t("Delete"))) },
  ],
});

function offer(select, all, values) {
  const kept = select.value;
  fill(select, h("option", { value: "" }, all), values.map((value) => h("option", { value }, value)));
  select.value = values.includes(kept) ? kept : "";
}

function draw() {
  const rows = series.data ?? [];
  const typed = filters.search.value.trim().toLowerCase();
  const found = rows.filter((row) => (!typed || row.symbol.toLowerCase().includes(typed) || row.coin?.toLowerCase() === typed)
    && (!filters.place.value || placeOf(row) === filters.place.value) && (!filters.interval.value || row.interval === filters.interval.value));
  table.setRows(found);
  $("#series-none").hidden = found.length > 0;
  $("#series .note")?.remove();
  const words = ngettext("%(num)s series", "%(num)s series", found.length);
  $("#series h2").after(h("span", { class: "note" }, found.length < rows.length ? t("%(found)s of %(all)s", { found: found.length, all: rows.length }) : words, ", ", t("%(n)s candles", { n: compact(found.reduce((sum, row) => sum + row.rows, 0)) })));
}
for (const control of Object.values(filters)) control.addEventListener("input", draw);

const series = resource({
  panels: [seriesPanel],
  read: async (signal) => {
    const [rows, tradable] = await Promise.all([api.get("/api/candles", null, { signal }), api.get("/api/backtest/coins", null, { signal })]);
    const coins = new Map(tradable.map((one) => [keyOf(one), one.coin]));
    return rows.map((row) => ({ ...row, coin: coins.get(keyOf(row)) ?? null }));
  },
  isEmpty: (rows) => !rows.length,
  source: () => ({ source: t("Candle store of this workspace") }),
  paint: (rows) => {
    const unique = (values) => [...new Set(values)];
    offer(filters.place, t("All venues"), unique(rows.map(placeOf)).sort());
    offer(filters.interval, t("All intervals"), unique(rows.map((row) => row.interval)).sort((a, b) => minutes(a) - minutes(b)));
    draw();
  },
});

// -- funding ------------------------------------------------------------------------------------

const fundingTable = new DataTable($("#funding-table"), {
  caption: t("Stored funding rates"), rowKey: (row) => `${row.venue} ${row.symbol}`, stack: true,
  columns: [
    { key: "venue", label: t("Venue") },
    { key: "symbol", label: t("Symbol"), cell: (row) => h("span", { class: "strong bright" }, row.symbol) },
    { key: "rows", label: t("Rates"), align: "n", cell: (row) => int(row.rows) },
    { key: "first", label: t("First"), cell: (row) => when(row, "first") },
    { key: "last", label: t("Last"), cell: (row) => when(row, "last") },
  ],
});
const funding = resource({
  panels: [new Panel("#funding", { empty: { text: t("No funding rates are stored: backtests of perpetuals then count a usual rate and say so. Import Parquet files with timestamp and funding_rate.") } })],
  read: (signal) => api.get("/api/funding", null, { signal }),
  isEmpty: (rows) => !rows.length,
  source: () => ({ source: t("Funding store of this workspace") }),
  paint: (rows) => fundingTable.setRows(rows),
});

// -- upload -------------------------------------------------------------------------------------

const form = $("#import-form");
const submit = $("#import-submit");
let files = [];
let sending = null;

const pathOf = (file) => file.webkitRelativePath || file.name;
const READABLE = /\.(csv|zip|parquet)$/i;

function choose(list) {
  const found = [...list].filter((file) => READABLE.test(file.name));
  const skipped = list.length - found.length;
  files = found;
  clearProblems(form);
  if (skipped) toast(ngettext("%(num)s file is left out: only .csv, .zip and .parquet are read.", "%(num)s files are left out: only .csv, .zip and .parquet are read.", skipped), "info");
  drawFiles();
}

function drawFiles() {
  const bytes = files.reduce((sum, file) => sum + file.size, 0);
  const tooMuch = bytes > pageData().max_upload_bytes;
  fill($("#chosen-files"), files.slice(0, 12).map((file) => h("li", null, h("span", { class: "clip" }, pathOf(file)), h("span", { class: "quiet num" }, sizeWords(file.size)))),
    files.length > 12 ? h("li", { class: "quiet" }, t("and %(n)s more", { n: files.length - 12 })) : null,
    tooMuch ? h("li", { class: "down" }, t("Together %(size)s: more than %(most)s at once is not taken. Choose fewer, or use the command line.", { size: sizeWords(bytes), most: sizeWords(pageData().max_upload_bytes) })) : null);
  submit.disabled = !files.length || tooMuch || sending !== null;
  fill(submit, files.length ? ngettext("Import %(num)s file", "Import %(num)s files", files.length) : t("Import"));
}

const sizeWords = (bytes) => (bytes < 1024 ? t("%(n)s bytes", { n: int(bytes) }) : bytes < MB ? t("%(n)s kB", { n: num(bytes / 1024, 0) }) : t("%(n)s MB", { n: num(bytes / MB, 1) }));

// fetch() does not tell how much of a body has been sent.
function send(data, onProgress) {
  const request = new XMLHttpRequest();
  const answer = new Promise((resolve, reject) => {
    request.open("POST", "/api/candles/import");
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("X-CSRFToken", $('meta[name="csrf-token"]').content);
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.upload.onload = () => onProgress(1);
    request.onload = () => {
      let body = null;
      try {
        body = JSON.parse(request.responseText);
      } catch {
        body = null; // a proxy's page, not ours
      }
      if (request.status === 200 && body) resolve(body);
      else reject(new ApiError(body?.error ?? t("The server answered with status %(status)s.", { status: request.status }), request.status, body?.field ?? null));
    };
    request.onerror = () => reject(new ApiError(t("The server does not answer. Is it still running?"), 0));
    request.onabort = () => reject(new ApiError(t("The upload was cancelled; nothing of it was stored."), -1));
    request.send(data);
  });
  return { request, answer };
}

function showUpload(share) {
  const percent = Math.round(100 * share);
  $("#upload-line").setAttribute("aria-valuenow", String(percent));
  $("#upload-line > span").style.width = `${percent}%`;
  fill($("#upload-words"), share < 1 ? t("Sending: %(n)s%%", { n: percent }) : t("Sent. The server checks and stores the candles…"));
  $("#import-cancel").hidden = share >= 1; // what is being stored is stored whole
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!files.length || sending) return;
  clearProblems(form);
  const data = new FormData();
  const values = readForm(form);
  for (const name of ["venue", "market", "symbol", "interval"]) if (values[name]) data.append(name, values[name]);
  data.append("replace", values.replace ? "1" : "0");
  for (const file of files) data.append("files", file, pathOf(file));
  $("#import-progress").hidden = false;
  $("#import-report").hidden = true;
  showUpload(0);
  sending = send(data, showUpload);
  drawFiles();
  try {
    const report = await sending.answer;
    files = [];
    $("#files").value = "";
    $("#folder").value = "";
    showReport(report);
  } catch (error) {
    if (error.status === -1) toast(error.message, "info");
    else if (error.name === "ApiError") showProblem(form, error);
    else throw error;
  } finally {
    sending = null;
    $("#import-progress").hidden = true;
    $("#import-cancel").hidden = true;
    drawFiles();
  }
  series.refresh();
  funding.refresh();
});
$("#import-cancel").addEventListener("click", () => sending?.request.abort());
$("#files").addEventListener("change", (event) => choose(event.target.files));
$("#folder").addEventListener("change", (event) => choose(event.target.files));

const drop = $("#drop");
for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => {
  event.preventDefault();
  drop.classList.add("is-over");
});
for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("is-over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  choose(event.dataTransfer.files);
});

// -- the import's report ------------------------------------------------------------------------

function detailOf(file) {
  const lines = [];
  if (file.error) lines.push(h("p", { class: "down" }, file.error));
  if (file.refusals.length) {
    lines.push(h("p", { class: "quiet" }, ngettext("%(num)s row was refused", "%(num)s rows were refused", file.refused), file.refusals.length < file.refused ? t(", the first:") : ":"));
    lines.push(h("ul", { class: "gap-list plain" }, file.refusals.map((one) => h("li", null, h("span", { class: "num" }, t("line %(n)s", { n: one.line })), " ", h("span", { class: "quiet" }, one.reason)))));
  }
  if (file.differences.length) {
    lines.push(h("p", { class: "quiet" }, t("Candles that differ from the stored ones (close stored, close in the file):")));
    lines.push(h("ul", { class: "gap-list plain" }, file.differences.map((one) => h("li", null, h("span", { class: "num" }, utc(one.timestamp)), " ", h("span", { class: "quiet num" }, `${one.stored.close} / ${one.given.close}`)))));
  }
  return lines.length ? lines : h("p", { class: "quiet" }, t("Nothing was refused."));
}

function showReport(report) {
  const { totals } = report;
  const figures = [[t("Files"), totals.files], [t("Not read"), totals.errors, "down"], [t("Rows"), totals.rows], [t("Stored"), totals.stored, "up"], [t("Already there"), totals.unchanged], [t("Different"), totals.different, "warn"], [t("Replaced"), totals.replaced], [t("Refused"), totals.refused, "down"]];
  fill($("#import-figures"), figures.map(([label, value, look]) => h("div", { class: "figure" }, h("dt", null, label), h("dd", { class: `num ${value && look ? look : ""}` }, int(value)))));
  const count = (key, label, look = "") => ({ key, label, align: "n", cell: (row) => (row.error ? h("span", { class: "dash" }, DASH) : h("span", { class: row[key] ? look : "quiet" }, int(row[key]))) });
  const box = $("#import-files");
  fill(box);
  new DataTable(box, {
    caption: t("Imported files"), rowKey: (row) => row.path, stack: true, expand: (row) => h("div", { class: "stack-1" }, detailOf(row)), limit: 100,
    columns: [
      { key: "path", label: t("File"), cell: (row) => h("span", { class: "break" }, row.path) },
      { key: "series", label: t("Series"), cell: (row) => (row.error ? h("span", { class: "down wrap-any" }, row.error) : row.series) },
      count("rows", t("Rows")), count("stored", t("Stored"), "up"), count("unchanged", t("Already there")), count("different", t("Different"), "warn"), count("replaced", t("Replaced")), count("refused", t("Refused"), "down"), count("gaps", t("Gaps"), "warn"),
    ],
  }).setRows(report.files);
  const area = $("#import-report");
  area.hidden = false;
  area.focus({ preventScroll: true });
  area.scrollIntoView({ block: "nearest" });
  toast(totals.errors || totals.refused ? t("Imported, but not all of it: see the report.") : t("Imported: %(n)s new candles.", { n: int(totals.stored) }), totals.errors ? "bad" : "good");
}

series.refresh();
funding.refresh();
live.subscribe({ channels: ["status"] });
