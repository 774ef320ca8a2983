// Settings: the tables are the server's; the tokens of programs are made and ended here.

import { $, fill, h, pageData } from "../core/dom.js";
import { api } from "../core/api.js";
import { time } from "../core/format.js";
import { t } from "../core/i18n.js";
import { live } from "../core/live.js";
import { Panel, resource } from "../components/panel.js";
import { DataTable } from "../components/table.js";
import { onSubmit } from "../components/form.js";
import { ask } from "../components/dialog.js";
import { toast } from "../components/toast.js";

function showTokens() {
  const form = $("#token-form");

  async function remove(token) {
    const name = token.name;
    const sure = await ask({ title: t("Delete the token %(name)s?", { name }), text: t("Programs that use it are refused from now on. It cannot be brought back; you can make another."), confirm: t("Delete token"), risky: true });
    if (!sure) return;
    try {
      await api.del(`/api/tokens/${token.id}`);
      toast(t("The token %(name)s is deleted.", { name }));
    } catch (error) {
      if (error.name !== "ApiError") throw error;
      toast(error.message, "bad");
    }
    tokens.refresh();
  }

  const table = new DataTable($("#tokens-table"), {
    caption: t("Tokens of programs"), stack: true,
    columns: [
      { key: "name", label: t("Name"), cell: (row) => h("span", { class: "strong bright break" }, row.name) },
      { key: "created", label: t("Made"), cell: (row) => time(row.created) },
      { key: "last_used", label: t("Last used"), cell: (row) => (row.last_used === null ? t("never") : time(row.last_used)) },
      { key: "actions", label: "", aria: t("Actions"), align: "n", cell: (row) => h("button", { type: "button", class: "btn btn-risky btn-sm", "aria-label": t("Delete the token %(name)s", { name: row.name }), onclick: () => remove(row) }, t("Delete")) },
    ],
  });

  const tokens = resource({
    panels: [new Panel("#tokens", { empty: { text: t("No program has a token yet."), action: { label: t("Make a token"), onclick: () => form.elements.name.focus() } } })],
    read: (signal) => api.get("/api/tokens", null, { signal }),
    isEmpty: (rows) => !rows.length,
    source: () => ({ source: t("Tokens of this workspace; only their hashes are stored") }),
    paint: (rows) => table.setRows(rows),
  });

  onSubmit(form, async ({ name }) => {
    const made = await api.post("/api/tokens", { name });
    form.reset();
    const box = $("#made-token");
    const copy = h("button", { type: "button", class: "btn btn-plain btn-sm", onclick: async () => {
      await navigator.clipboard.writeText(made.token);
      toast(t("Copied."));
    } }, t("Copy"));
    fill(box,
      h("p", null, t("The token %(name)s, shown this once: copy it now. Only its hash is kept.", { name: made.name })),
      h("p", { class: "actions" }, h("code", { class: "break", id: "token-text" }, made.token), navigator.clipboard ? copy : null));
    box.hidden = false;
    box.focus();
    tokens.refresh();
  });

  tokens.refresh();
}

if (pageData().needs_login) showTokens();
live.subscribe({ channels: ["status"] });
