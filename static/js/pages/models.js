// Models: the list with its actions, and the form for a new one.

import { $, h, pageData } from "../core/dom.js";
import { api } from "../core/api.js";
import { change, int, kindText, money, num, pnl } from "../core/format.js";
import { t } from "../core/i18n.js";
import { live } from "../core/live.js";
import { Panel, resource } from "../components/panel.js";
import { DataTable } from "../components/table.js";
import { ModelForm } from "../components/modelform.js";
import { deleteModel, setStatus } from "../components/modelactions.js";
import { modelCell, statusChip } from "../components/columns.js";
import { toast } from "../components/toast.js";

const panel = new Panel("#models", { empty: { text: t("No model yet. A model follows a strategy, or buys and holds, with its own account."), action: { label: t("New model"), onclick: () => openForm() } } });

let positions = new Map();

function actions(row) {
  const named = { name: row.name };
  return h("span", { class: "row-actions" },
    row.status === "running"
      ? h("button", { type: "button", class: "btn btn-plain btn-sm", "aria-label": t("Pause %(name)s", named), onclick: () => setStatus(row, "paused").then(refresh) }, t("Pause"))
      : h("button", { type: "button", class: "btn btn-plain btn-sm", "aria-label": t("Resume %(name)s", named), onclick: () => setStatus(row, "running").then(refresh) }, t("Resume")),
    h("button", { type: "button", class: "btn btn-risky btn-sm", "aria-label": t("Delete %(name)s", named), onclick: () => deleteModel(row, positions.get(row.id)).then(refresh) }, t("Delete")));
}

const table = new DataTable($("#models-table"), {
  caption: t("Models"), stack: true, patch: true,
  columns: [
    { key: "name", label: t("Model"), cell: (row) => modelCell(row.id, row.name) },
    { key: "status", label: t("Status"), cell: (row) => statusChip(row.status) },
    { key: "kind", label: t("Kind"), cell: (row) => kindText(row.kind) },
    { key: "interval", label: t("Candles"), align: "c" },
    { key: "coins", label: t("Coins"), align: "n", value: (row) => row.coins.length },
    { key: "positions", label: t("Positions"), align: "n", value: (row) => positions.get(row.id) ?? 0 },
    { key: "total_value", label: t("Value"), align: "n", flash: true, cell: (row) => money(row.total_value) },
    { key: "return_percentage", label: t("Return"), align: "n", cell: (row) => change(row.return_percentage) },
    { key: "unrealized_pnl", label: t("Unrealised P&L"), align: "n", cell: (row) => pnl(row.unrealized_pnl) },
    { key: "pnl_today", label: t("Today"), align: "n", cell: (row) => pnl(row.pnl_today) },
    { key: "max_drawdown", label: t("Drawdown"), align: "n", cell: (row) => (typeof row.max_drawdown === "number" ? `${num(row.max_drawdown)}%` : "–") },
    { key: "trades", label: t("Closed"), align: "n", hint: t("Closed trades"), cell: (row) => int(row.trades) },
    { key: "actions", label: "", aria: t("Actions"), align: "n", cell: actions },
  ],
});

function paint(overview) {
  positions = new Map();
  for (const row of overview.positions) positions.set(row.model_id, (positions.get(row.model_id) ?? 0) + 1);
  table.setRows(overview.models);
}

const models = resource({
  panels: [panel],
  read: (signal) => api.get("/api/overview", null, { signal }),
  isEmpty: (overview) => !overview.models.length,
  source: () => ({ source: t("Ledgers of the models (paper)") }),
  paint,
  every: 10_000,
});
const refresh = () => models.refresh();

// -- the form -----------------------------------------------------------------------------------

let form = null;
let opening = null;

async function makeForm() {
  const [coins, groups, strategies] = await Promise.all([api.get("/api/coins"), api.get("/api/coin-groups"), api.get("/api/strategies")]);
  form = new ModelForm($("#model-form"), {
    coins, groups, strategies, cancel: closeForm,
    save: async (body) => {
      const made = await api.post("/api/models", body);
      toast(t("%(name)s is created and runs.", { name: made.name }));
      location.assign(`/models/${made.id}`);
    },
  });
}

async function openForm() {
  opening ??= makeForm();
  try {
    await opening;
  } catch (error) {
    opening = null;
    toast(error.message, "bad");
    return;
  }
  $("#model-editor").hidden = false;
  form.clear();
  form.focus();
  $("#model-editor").scrollIntoView({ block: "start" });
}

function closeForm() {
  $("#model-editor").hidden = true;
  if (location.hash) history.replaceState(null, "", location.pathname);
  $("#new-model").focus();
}

$("#new-model").addEventListener("click", openForm);
models.show(pageData().overview);
if (location.hash === "#new") openForm();

live.on("account_update", (data) => {
  const row = models.data.models.find((one) => one.id === data.model_id);
  if (!row || typeof data.total_value !== "number") return;
  Object.assign(row, { total_value: data.total_value, return_percentage: data.return_percentage ?? row.return_percentage, unrealized_pnl: data.unrealized_pnl ?? row.unrealized_pnl });
  table.setRows(models.data.models, { keepOrder: true });
});
live.on("model_changed", () => models.hint());
live.on("position_update", () => models.hint());
live.subscribe({ channels: ["account_update", "position_update", "model_changed", "status"] });
