// Picks coins (or anything with a symbol and a name) by typing: one, or many as chips.
//
//   const picker = new Picker(container, {
//     label: t("Coins"),                          // for the screen reader, or `labelledBy: id`
//     items: [{ value: "BTC", symbol: "BTC", name: "Bitcoin", tail: t("12 gaps"), disabled: false }],
//     value: ["BTC"] or "BTC",  multiple: true,
//     groups: [{ name: "Top10", values: ["BTC", ...] }],   // buttons that add a whole group (multiple only)
//     placeholder, onChange: (value) => ...,
//   });
//   picker.value  picker.set(value)  picker.setItems(items)  picker.setGroups(groups)  picker.problem(words | null)
//   picker.field           to put into form.curlewFields
// Keyboard: type to search, arrows, Enter picks, Backspace removes the last, Escape closes.

import { fill, h, uid } from "../core/dom.js";
import { t } from "../core/i18n.js";

const SHOWN = 60;

export class Picker {
  constructor(container, { label = "", labelledBy = null, items = [], value = null, multiple = false, groups = [], placeholder = "", onChange = () => {} }) {
    this.items = items;
    this.multiple = multiple;
    this.onChange = onChange;
    this.placeholder = placeholder;
    this.chosen = multiple ? [...(value ?? [])] : value;
    this.active = 0;
    this.found = [];
    const listId = uid("picker");
    this.input = h("input", {
      type: "text", role: "combobox", autocomplete: "off", spellcheck: "false", "aria-expanded": "false", "aria-controls": listId,
      "aria-autocomplete": "list", "aria-label": labelledBy ? null : label, "aria-labelledby": labelledBy,
      onfocus: () => this.#onFocus(), oninput: () => this.open(), onkeydown: (event) => this.#onKey(event), onblur: () => this.#onBlur(),
    });
    this.chips = h("span", { class: "chips" });
    this.box = h("div", { class: "picker-box", onmousedown: (event) => this.#onBox(event) }, this.chips, this.input);
    // A press on the list must not take the focus away from the input before the click arrives.
    this.list = h("ul", { class: "picker-list", role: "listbox", id: listId, "aria-label": label, "aria-multiselectable": multiple ? "true" : null, hidden: true, onmousedown: (event) => event.preventDefault() });
    this.groupBox = h("div", { class: "picker-groups", hidden: true });
    this.note = h("div", { class: "invalid-feedback", role: "alert" });
    this.root = h("div", { class: "picker" }, this.box, this.list);
    fill(container, this.root, this.note, this.groupBox);
    this.setGroups(groups);
    this.#drawChosen();
  }

  get value() {
    return this.multiple ? [...this.chosen] : this.chosen;
  }

  get field() {
    return { get: () => this.value, set: (value) => this.set(value), problem: (words) => this.problem(words) };
  }

  set(value) {
    this.chosen = this.multiple ? [...(value ?? [])] : value;
    this.#drawChosen();
  }

  setItems(items) {
    this.items = items;
    if (this.list.hidden) this.#drawChosen();
    else this.open(); // somebody is typing: the search goes on over the new items
  }

  setGroups(groups) {
    this.groupBox.hidden = !this.multiple || groups.length === 0;
    fill(this.groupBox, h("span", { class: "label" }, t("Add a group:")),
      groups.map((group) => h("button", { type: "button", class: "btn btn-plain btn-sm", onclick: () => this.add(group.values) }, group.name)),
      h("button", { type: "button", class: "btn-link-quiet label", onclick: () => this.#change([]) }, t("Clear")));
  }

  problem(words) {
    this.root.classList.toggle("is-invalid", Boolean(words));
    this.note.classList.toggle("d-block", Boolean(words));
    this.note.textContent = words ?? "";
    if (words) this.input.focus();
  }

  add(values) {
    const offered = new Set(this.items.filter((item) => !item.disabled).map((item) => item.value));
    this.#change([...new Set([...this.chosen, ...values.filter((value) => offered.has(value))])]);
  }

  #change(value) {
    this.chosen = value;
    this.problem(null);
    this.#drawChosen();
    this.onChange(this.value);
  }

  #item(value) {
    return this.items.find((item) => item.value === value);
  }

  #drawChosen() {
    if (!this.multiple) {
      const item = this.#item(this.chosen);
      this.input.value = item?.symbol ?? (this.chosen ?? "");
      this.input.placeholder = this.placeholder;
      this.chips.hidden = true;
      return;
    }
    this.chips.hidden = this.chosen.length === 0;
    this.input.placeholder = this.chosen.length ? "" : this.placeholder;
    fill(this.chips, this.chosen.map((value) => {
      const text = this.#item(value)?.symbol ?? value;
      return h("span", { class: "chip", title: this.#item(value)?.name ?? null }, h("span", { class: "clip" }, text),
        h("button", { type: "button", tabindex: "-1", "aria-label": t("Remove %(name)s", { name: text }), onclick: (event) => {
          event.stopPropagation();
          this.#change(this.chosen.filter((other) => other !== value));
        } }, "×"));
    }));
  }

  #search() {
    const typed = !this.multiple && this.input.value === (this.#item(this.chosen)?.symbol ?? "") ? "" : this.input.value.trim().toLowerCase();
    if (!typed) return this.items;
    const rank = (item) => {
      const symbol = item.symbol.toLowerCase();
      const name = (item.name ?? "").toLowerCase();
      if (symbol === typed) return 0;
      if (symbol.startsWith(typed)) return 1;
      if (name.startsWith(typed)) return 2;
      return symbol.includes(typed) || name.includes(typed) ? 3 : 9;
    };
    return this.items.map((item) => [rank(item), item]).filter(([place]) => place < 9).sort((a, b) => a[0] - b[0]).map(([, item]) => item);
  }

  open() {
    this.found = this.#search().slice(0, SHOWN);
    this.active = 0;
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    this.#drawList();
  }

  close() {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  #drawList() {
    const isChosen = (item) => (this.multiple ? this.chosen.includes(item.value) : this.chosen === item.value);
    fill(this.list, this.found.length ? this.found.map((item, index) => h("li", {
      role: "option", id: `${this.list.id}-${index}`, class: index === this.active ? "is-active" : null,
      "aria-selected": String(isChosen(item)), "aria-disabled": item.disabled ? "true" : null, onclick: () => this.#pick(item),
    }, h("span", { class: "sym" }, item.symbol), h("span", { class: "name" }, item.name ?? ""), item.tail ? h("span", { class: "tail" }, item.tail) : null))
      : h("li", { class: "none" }, t("No match.")));
    this.#mark();
  }

  #mark() {
    [...this.list.children].forEach((option, index) => option.classList.toggle("is-active", index === this.active));
    const option = this.list.children[this.active];
    if (!this.found.length || !option) return;
    this.input.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  }

  #pick(item) {
    if (!item || item.disabled) return;
    if (!this.multiple) {
      this.#change(item.value);
      this.close();
      return;
    }
    const isIn = this.chosen.includes(item.value);
    this.input.value = "";
    this.#change(isIn ? this.chosen.filter((value) => value !== item.value) : [...this.chosen, item.value]);
    const active = this.active;
    this.open();
    this.active = Math.min(active, Math.max(0, this.found.length - 1));
    this.#mark();
  }

  #onFocus() {
    if (!this.multiple) this.input.select();
    this.open();
  }

  #onBox(event) {
    if (event.target === this.input) {
      if (document.activeElement === this.input) this.open();
    } else if (!event.target.closest("button")) {
      event.preventDefault();
      this.input.focus();
    }
  }

  #onBlur() {
    this.close();
    if (this.multiple) this.input.value = "";
    else this.#drawChosen();
  }

  #onKey(event) {
    const isOpen = !this.list.hidden;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!isOpen) this.open();
      else this.active = (this.active + (event.key === "ArrowDown" ? 1 : -1) + this.found.length) % Math.max(1, this.found.length);
      this.#mark();
    } else if (event.key === "Enter" && isOpen) {
      event.preventDefault();
      this.#pick(this.found[this.active]);
    } else if (event.key === "Escape" && isOpen) {
      event.preventDefault();
      event.stopPropagation();
      this.close();
    } else if (event.key === "Backspace" && this.multiple && !this.input.value && this.chosen.length) {
      this.#change(this.chosen.slice(0, -1));
    }
  }
}

// Rows of /api/coins and /api/coin-groups as a picker wants them.
export const coinItems = (coins) => coins.map((coin) => ({ value: coin.symbol, symbol: coin.symbol, name: coin.name, tail: coin.category ?? "" }));
export const groupItems = (groups) => groups.map((group) => ({ name: group.name, values: group.coins.map((coin) => coin.symbol ?? coin) }));
