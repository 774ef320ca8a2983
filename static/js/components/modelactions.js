// What can be done to a model from several pages; each asks once where it costs or loses something.
//
//   await setStatus(model, "paused" | "running")   await deleteModel(model)     true where it was done

import { api } from "../core/api.js";
import { ngettext, t } from "../core/i18n.js";
import { ask } from "./dialog.js";
import { toast } from "./toast.js";

async function attempt(work, words) {
  try {
    await work();
  } catch (error) {
    if (error.name !== "ApiError") throw error;
    toast(error.message, "bad");
    return false;
  }
  toast(words);
  return true;
}

export async function setStatus(model, status) {
  const { name } = model;
  if (status === "running") return attempt(() => api.put(`/api/models/${model.id}`, { status }), t("%(name)s runs again.", { name }));
  const sure = await ask({
    title: t("Pause %(name)s?", { name }),
    text: [t("It decides nothing until you resume it."), t("Open positions stay open: their stops, targets, funding and liquidation go on as before.")],
    confirm: t("Pause"),
  });
  return sure && attempt(() => api.put(`/api/models/${model.id}`, { status }), t("%(name)s is paused.", { name }));
}

export async function deleteModel(model, openPositions = null) {
  const { name } = model;
  const text = [t("Its account, trades, decisions and equity curve are deleted with it. This cannot be undone.")];
  if (openPositions) text.unshift(ngettext("It holds %(num)s open position, which vanishes with the account.", "It holds %(num)s open positions, which vanish with the account.", openPositions));
  const sure = await ask({ title: t("Delete %(name)s for good?", { name }), text, confirm: t("Delete model"), risky: true });
  return sure && attempt(() => api.del(`/api/models/${model.id}`), t("%(name)s is deleted.", { name }));
}
