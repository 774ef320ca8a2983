// One side of a rule set as menus: groups joined by OR, conditions joined by the group's logic.
//
//   const editor = new RuleEditor(fieldset, { side: "buy", words, onChange })
//   editor.set(groups, legend)   editor.groups     editor.legend(text)
// Every control is named by its place in the rule set (buy_groups.0.conditions.1.params.period), which is how the
// server names what is wrong with it.

import { $, fill, h, uid } from "../core/dom.js";
import { t } from "../core/i18n.js";

const MAX = 20;
const FIRST = { indicator_type: "MA", signal_type: "golden_cross" };

const copy = (value) => structuredClone(value);

export class RuleEditor {
  constructor(root, { side, words, onChange }) {
    this.root = root;
    this.side = side;
    this.words = words;
    this.onChange = onChange;
    this.groups = [];
    this.title = h("legend");
    this.list = h("div", { class: "rule-groups" });
    this.addButton = h("button", { type: "button", class: "btn btn-plain btn-sm", onclick: () => this.#addGroup() });
    fill(root, this.title, this.list, this.addButton);
  }

  set(groups) {
    this.groups = copy(groups);
    this.draw();
  }

  legend(text) {
    this.title.textContent = text;
  }

  // -- changes --------------------------------------------------------------------------------

  #changed(redraw = true) {
    if (redraw) this.draw();
    this.onChange();
  }

  #addGroup() {
    this.groups.push({ logic: "AND", conditions: [this.#fresh(FIRST)] });
    this.#changed();
    this.#focus(`${this.groups.length - 1}.conditions.0.indicator_type`);
  }

  #addCondition(group, at) {
    group.conditions.push(this.#fresh(FIRST));
    this.#changed();
    this.#focus(`${at}.conditions.${group.conditions.length - 1}.indicator_type`);
  }

  #removeCondition(at, index) {
    const group = this.groups[at];
    group.conditions.splice(index, 1);
    if (!group.conditions.length) this.groups.splice(at, 1);
    this.#changed();
    (this.groups[at] ? this.#focus(`${at}.conditions.${Math.max(0, Math.min(index, this.groups[at].conditions.length - 1))}.indicator_type`) : null) ?? this.addButton.focus();
  }

  #focus(path) {
    const found = $(`[name="${this.side}_groups.${path}"]`, this.root);
    found?.focus();
    return found;
  }

  // What the signal reads, at its defaults; values that the old one shared with it stay.
  #fresh({ indicator_type: indicator, signal_type: signal }, kept = {}) {
    const found = this.words.signal(indicator, signal) ?? this.words.signals(indicator)[0];
    const params = {};
    for (const name of found["x-params"]) {
      const schema = this.words.param(indicator, name);
      params[name] = copy(kept[name] ?? schema.default ?? schema.enum?.[0] ?? null);
    }
    return { indicator_type: indicator, signal_type: found.const, params };
  }

  // -- drawing --------------------------------------------------------------------------------

  draw() {
    fill(this.list, this.groups.length
      ? this.groups.map((group, at) => [at ? h("p", { class: "rule-or" }, t("or")) : null, this.#group(group, at)])
      : h("p", { class: "quiet rule-none" }, t("No conditions: this side never signals.")));
    fill(this.addButton, this.groups.length ? t("Add another group (or)") : t("Add conditions"));
    this.addButton.disabled = this.groups.length >= MAX;
  }

  #group(group, at) {
    const path = `${this.side}_groups.${at}`;
    const name = t("Group %(n)s", { n: at + 1 });
    return h("div", { class: "rule-group", role: "group", "aria-label": name },
      h("div", { class: "rule-group-head" },
        h("h3", null, name),
        this.#menu(`${path}.logic`, t("How its conditions are joined"), [["AND", t("all must hold (AND)")], ["OR", t("any may hold (OR)")]], group.logic, (value) => {
          group.logic = value;
          this.#changed();
        }),
        h("button", { type: "button", class: "btn btn-plain btn-sm", "aria-label": t("Remove group %(n)s", { n: at + 1 }), onclick: () => {
          this.groups.splice(at, 1);
          this.#changed();
          this.addButton.focus();
        } }, t("Remove group"))),
      group.conditions.map((condition, index) => [index ? h("p", { class: "rule-join" }, group.logic === "AND" ? t("and") : t("or")) : null, this.#condition(condition, path, at, index)]),
      h("button", { type: "button", class: "btn btn-plain btn-sm", disabled: group.conditions.length >= MAX, onclick: () => this.#addCondition(group, at) }, t("Add condition")));
  }

  #condition(condition, groupPath, at, index) {
    const path = `${groupPath}.conditions.${index}`;
    const signal = this.words.signal(condition.indicator_type, condition.signal_type);
    const replace = (next) => {
      this.groups[at].conditions[index] = next;
      this.#changed();
    };
    return h("div", { class: "rule-condition", dataset: { path } },
      h("div", { class: "rule-menus" },
        this.#labelled(t("Indicator"), (id) => this.#menu(`${path}.indicator_type`, null, this.words.indicators().map(([value, found]) => [value, found.title]), condition.indicator_type, (value) => {
          replace(this.#fresh({ indicator_type: value, signal_type: condition.signal_type }));
          this.#focus(`${at}.conditions.${index}.indicator_type`);
        }, id)),
        this.#labelled(t("Signal"), (id) => this.#menu(`${path}.signal_type`, null, this.words.signals(condition.indicator_type).map((one) => [one.const, one.title]), condition.signal_type, (value) => {
          replace(this.#fresh({ ...condition, signal_type: value }, condition.params));
          this.#focus(`${at}.conditions.${index}.signal_type`);
        }, id)),
        signal["x-params"].map((name) => this.#param(condition, name, `${path}.params.${name}`)),
        h("button", { type: "button", class: "btn btn-bare btn-sm rule-remove", title: t("Remove condition"), "aria-label": t("Remove condition %(n)s of group %(group)s", { n: index + 1, group: at + 1 }), onclick: () => this.#removeCondition(at, index) }, "×")),
      h("p", { class: "form-text" }, signal.description || this.words.defs[condition.indicator_type].description));
  }

  #labelled(label, make, look = "") {
    const id = uid("rule");
    return h("div", { class: look || null }, h("label", { class: "form-label", for: id }, label), make(id));
  }

  #menu(name, label, choices, value, onPick, id = null) {
    return h("select", { class: "form-select form-select-sm", id, name, "aria-label": label, onchange: (event) => onPick(event.target.value) },
      choices.map(([key, text]) => h("option", { value: key, selected: key === value }, text)));
  }

  #param(condition, name, path) {
    const schema = this.words.param(condition.indicator_type, name);
    const put = (value) => {
      condition.params[name] = value;
      this.#changed(false);
    };
    if (schema.enum) {
      const readable = (text) => (schema.enum.length > 9 ? text.replace(/^CDL/, "") : text);
      return this.#labelled(schema.title, (id) => this.#menu(path, null, schema.enum.map((one) => [one, readable(one)]), condition.params[name], put, id));
    }
    if (schema.type === "array") {
      return this.#labelled(schema.title, (id) => h("input", {
        class: "form-control form-control-sm", id, name: path, value: (condition.params[name] ?? []).join(", "), title: schema.description, inputmode: "numeric", required: true,
        oninput: (event) => put(event.target.value.split(/[\s,;/]+/).filter(Boolean).map((part) => (/^-?\d+$/.test(part) ? Number(part) : part))),
      }), "rule-list");
    }
    // The bounds are the server's to enforce, in its words: here they only tell.
    const bounds = t("%(about)s (%(low)s to %(high)s)", { about: schema.description, low: schema.minimum, high: schema.maximum });
    return this.#labelled(schema.title, (id) => h("input", {
      class: "form-control form-control-sm", id, name: path, type: "number", step: schema.type === "integer" ? 1 : "any", value: condition.params[name] ?? "", title: bounds,
      inputmode: "decimal", required: true, oninput: (event) => put(event.target.value === "" ? null : Number(event.target.value)),
    }), "rule-number");
  }
}
