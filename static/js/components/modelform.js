// The form of a model (templates/_model_form.html), for a new one and for editing.
//
//   const form = new ModelForm($("#model-form"), { coins, groups, strategies, save: async (body) => ..., cancel: () => ... })
//   form.clear()            defaults, for a new model
//   form.show(model)        an existing one; its kind is fixed
//   form.focus()

import { $, $$, fill, h } from "../core/dom.js";
import { t } from "../core/i18n.js";
import { clearProblems, fillForm, onSubmit } from "./form.js";
import { Picker, coinItems, groupItems } from "./picker.js";

const exact = (x) => Math.round(x * 1e12) / 1e12;

export class ModelForm {
  constructor(form, { coins = null, groups = [], strategies = [], save, cancel }) {
    this.form = form;
    this.defaults = JSON.parse(form.dataset.defaults);
    this.isNew = true;
    this.#offerStrategies(strategies);
    if (coins) this.#offerCoins(coins, groups);
    form.elements.kind.addEventListener("change", () => this.#onKind(true));
    $("#model-cancel", form).addEventListener("click", cancel);
    form.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.defaultPrevented) cancel();
    });
    onSubmit(form, async (values) => {
      try {
        await save(this.#body(values));
      } catch (error) {
        if (error.field === "trade_fee_rate") error.field = "fee_percent"; // the form asks for percent
        throw error;
      }
    });
  }

  #offerStrategies(strategies) {
    fill(this.form.elements.strategy_id, h("option", { value: "" }, strategies.length ? t("choose one") : t("no strategy yet: make one on the Strategies page")),
      strategies.map((one) => h("option", { value: String(one.id) }, one.name)));
  }

  #offerCoins(coins, groups) {
    this.picker = new Picker($("#model-coins", this.form), { label: t("Coins"), multiple: true, items: coinItems(coins), groups: groupItems(groups), placeholder: t("Search coins, or add a group below") });
    this.form.curlewFields = { coins: this.picker.field };
  }

  #onKind(resetRisk) {
    const isRules = this.form.elements.kind.value === "rules";
    const strategy = this.form.elements.strategy_id;
    strategy.closest("div").hidden = !isRules;
    strategy.disabled = !isRules;
    if (!resetRisk) return;
    // what holds has no limits unless somebody sets one
    fillForm(this.form, { risk: isRules ? this.defaults.risk : Object.fromEntries(Object.keys(this.defaults.risk).map((name) => [name, 0])) });
  }

  #body(values) {
    const { fee_percent: fee, ...rest } = values;
    const body = { ...rest, trade_fee_rate: fee === null ? null : exact(fee / 100) };
    for (const name of Object.keys(body.risk)) body.risk[name] ??= 0;
    if (this.isNew) return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
    if (body.initial_capital === this.model.initial_capital) delete body.initial_capital; // fixed once it has traded
    return body;
  }

  clear() {
    this.isNew = true;
    clearProblems(this.form);
    this.form.reset();
    fillForm(this.form, this.defaults);
    this.form.elements.kind.disabled = false;
    this.#onKind(true);
    this.picker?.set([]);
  }

  show(model) {
    this.isNew = false;
    this.model = model;
    clearProblems(this.form);
    fillForm(this.form, { ...model, fee_percent: exact(model.trade_fee_rate * 100) });
    this.form.elements.kind.disabled = true;
    this.#onKind(false);
  }

  focus() {
    $$("input:not([disabled])", this.form)[0].focus();
  }
}
