// A table that sorts, keeps its rows by key, flashes what changed, and stays quick with thousands of rows.
//
//   const table = new DataTable(container, {
//     caption: t("Open positions"),            // read aloud, not shown
//     columns: [{
//       key: "price", label: t("Price"),       // label "" for columns of buttons (give `aria`)
//       value: (row) => row.price,             // what is sorted and compared (default row[key])
//       cell: (row) => price(row.price),       // text or node (default: the value as text)
//       align: "n" | "c", wrap: true, rest: true, hint: t("what it means"), sort: false, aria: t("Actions"), flash: true,
//     }],
//     rowKey: (row) => row.id,
//     sort: { key: "price", dir: "desc" },     // or null: the order given
//     rowClass: (row) => "is-off",
//     expand: (row) => node,                   // a row opens to show more
//     stack: true,                             // label: value lines on a phone instead of scrolling
//     limit: 100,                              // "Show more" beyond
//     tall: true,                              // scrolls inside, header stays
//     patch: true,                             // for live tables: only what changed is replaced, so that tooltips,
//                                              // selections and animations live on (not for rows that hold inputs)
//   });
//   table.setRows(rows, { flashNew, keepOrder })   keepOrder: rows stay where they are though their numbers move
//   table.upsert(row)  table.rows

import { $$, fill, h } from "../core/dom.js";
import { DASH, num } from "../core/format.js";
import { locale, t } from "../core/i18n.js";

const collator = new Intl.Collator(locale, { numeric: true, sensitivity: "base" });

function compare(a, b) {
  // What is not known sorts last, whichever way the rest goes.
  const noA = a === null || a === undefined || Number.isNaN(a);
  const noB = b === null || b === undefined || Number.isNaN(b);
  if (noA || noB) return noA && noB ? 0 : noA ? Infinity : -Infinity;
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a === "boolean" && typeof b === "boolean") return Number(a) - Number(b);
  return collator.compare(String(a), String(b));
}

const FLASH = /\s*\bflash-(up|down)\b/;
const calm = (cell) => cell.className.replace(FLASH, "");

// Handlers do not count: a cell that looks the same does the same.
function sameCell(a, b) {
  return calm(a) === calm(b) && a.childNodes.length === b.childNodes.length && [...a.childNodes].every((node, index) => node.isEqualNode(b.childNodes[index]));
}

function patchRow(old, fresh) {
  if (old.cells.length !== fresh.cells.length) return fresh;
  if (old.className !== fresh.className && !old.classList.contains("flash-new")) old.className = fresh.className;
  const cells = [...fresh.cells];
  [...old.cells].forEach((cell, index) => {
    if (!sameCell(cell, cells[index])) cell.replaceWith(cells[index]);
  });
  return old;
}

function patchRows(body, fresh) {
  const known = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  const rows = fresh.map((row) => {
    const old = known.get(row.dataset.key);
    return old ? patchRow(old, row) : row;
  });
  const kept = new Set(rows);
  for (const row of known.values()) if (!kept.has(row)) row.remove();
  rows.forEach((row, index) => {
    if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] ?? null);
  });
}

export class DataTable {
  constructor(container, { columns, rowKey = (row) => row.id, sort = null, caption = "", rowClass = null, expand = null, stack = false, limit = 200, tall = false, patch = false }) {
    this.columns = columns;
    this.rowKey = rowKey;
    this.sort = sort;
    this.rowClass = rowClass;
    this.expand = expand;
    this.patch = patch;
    this.step = limit;
    this.limit = limit;
    this.rows = [];
    this.held = null; // places that rows keep between two sortings
    this.opened = new Set();
    this.shown = new Map(); // key -> values of the flashing columns
    this.head = h("tr");
    this.body = h("tbody");
    this.more = h("div", { class: "table-more", hidden: true });
    const table = h("table", { class: `data${stack ? " can-stack" : ""}` }, h("caption", null, caption), h("thead", null, this.head), this.body);
    // a region that scrolls must be reachable by the keyboard
    this.scroller = h("div", { class: `table-scroll${tall ? " is-tall" : ""}`, tabindex: "0", role: "region", "aria-label": caption }, table);
    fill(container, this.scroller, this.more);
    this.#drawHead();
  }

  setRows(rows, { flashNew = false, keepOrder = false } = {}) {
    const known = new Set(this.rows.map(this.rowKey));
    if (keepOrder) this.held ??= new Map(this.sorted().map((row, place) => [this.rowKey(row), place]));
    else this.held = null;
    this.fresh = flashNew && this.rows.length ? new Set(rows.map(this.rowKey).filter((key) => !known.has(key))) : new Set();
    this.rows = rows;
    this.draw();
  }

  upsert(row, { flash = true } = {}) {
    const key = this.rowKey(row);
    const at = this.rows.findIndex((old) => this.rowKey(old) === key);
    if (at >= 0) this.rows[at] = { ...this.rows[at], ...row };
    else this.rows.unshift(row);
    this.fresh = new Set(flash && at < 0 ? [key] : []);
    this.draw();
  }

  sorted() {
    if (this.held) return [...this.rows].sort((a, b) => (this.held.get(this.rowKey(a)) ?? -1) - (this.held.get(this.rowKey(b)) ?? -1));
    if (!this.sort) return this.rows;
    const column = this.columns.find((one) => one.key === this.sort.key);
    if (!column) return this.rows;
    const value = column.value ?? ((row) => row[column.key]);
    const way = this.sort.dir === "desc" ? -1 : 1;
    return [...this.rows].sort((a, b) => {
      const order = compare(value(a), value(b));
      return Number.isFinite(order) ? way * order : order > 0 ? 1 : -1;
    });
  }

  #drawHead() {
    const cells = this.columns.map((column) => {
      const sortable = column.sort !== false && column.label;
      const direction = this.sort?.key === column.key ? (this.sort.dir === "desc" ? "descending" : "ascending") : null;
      const inner = sortable
        ? h("button", { type: "button", class: "sort", onclick: () => this.#toggle(column) }, column.label)
        : column.label || h("span", { class: "visually-hidden" }, column.aria ?? "");
      return h("th", { scope: "col", class: column.align ?? null, title: column.hint ?? null, "aria-sort": direction }, inner);
    });
    if (this.expand) cells.unshift(h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, t("Details"))));
    fill(this.head, cells);
  }

  #toggle(column) {
    const first = column.align === "n" ? "desc" : "asc";
    const other = first === "desc" ? "asc" : "desc";
    const dir = this.sort?.key === column.key && this.sort.dir === first ? other : first;
    this.sort = { key: column.key, dir };
    this.held = null;
    const focusAt = this.columns.filter((one) => one.sort !== false && one.label).indexOf(column);
    this.#drawHead();
    this.draw();
    $$("button.sort", this.head)[focusAt]?.focus();
  }

  draw() {
    const rows = this.sorted();
    const holder = document.createDocumentFragment();
    const values = new Map();
    // Somebody may be in the middle of pressing a button of this row.
    const focused = !this.patch && this.body.contains(document.activeElement) ? this.#focusPath(document.activeElement) : null;
    for (const row of rows.slice(0, this.limit)) this.#drawRow(row, holder, values);
    this.shown = values;
    if (this.patch) patchRows(this.body, [...holder.children]);
    else {
      this.body.replaceChildren(holder);
      if (focused) this.#refocus(focused);
    }
    const left = rows.length - this.limit;
    this.more.hidden = left <= 0;
    if (left > 0) {
      fill(this.more, h("button", { type: "button", class: "btn btn-plain btn-sm", onclick: () => this.#showMore() },
        t("Show more (%(n)s left)", { n: num(left, 0) })));
    }
  }

  #focusPath(element) {
    const tr = element.closest("tr[data-key]");
    return tr ? { key: tr.dataset.key, index: $$("button, a, input, select", tr).indexOf(element) } : null;
  }

  #refocus({ key, index }) {
    const tr = $$("tr[data-key]", this.body).find((one) => one.dataset.key === key);
    if (tr && index >= 0) $$("button, a, input, select", tr)[index]?.focus({ preventScroll: true });
  }

  #showMore() {
    this.limit += this.step * 5;
    this.draw();
  }

  #drawRow(row, holder, values) {
    const key = this.rowKey(row);
    const before = this.shown.get(key);
    const now = {};
    const cells = this.columns.map((column) => {
      const value = column.value ? column.value(row) : row[column.key];
      const content = column.cell ? column.cell(row) : (value ?? DASH);
      let look = [column.align, column.wrap ? "wrap" : null, column.rest ? "rest" : null];
      if (column.flash) {
        now[column.key] = value;
        const old = before?.[column.key];
        if (typeof value === "number" && typeof old === "number" && value !== old) look = [...look, value > old ? "flash-up" : "flash-down"];
      }
      return h("td", { class: look.filter(Boolean).join(" ") || null, "data-label": column.label }, content);
    });
    values.set(key, now);
    const classes = [this.rowClass?.(row), this.fresh?.has(key) ? "flash-new" : null].filter(Boolean).join(" ");
    const tr = h("tr", { class: classes || null, dataset: { key: String(key) } }, cells);
    holder.append(tr);
    if (this.expand) this.#addExpander(row, key, tr, holder);
  }

  #addExpander(row, key, tr, holder) {
    const isOpen = this.opened.has(key);
    const toggle = h("button", {
      type: "button", class: "row-toggle", "aria-expanded": String(isOpen), "aria-label": t("Details"),
      onclick: () => {
        if (this.opened.has(key)) this.opened.delete(key);
        else this.opened.add(key);
        this.draw();
      },
    });
    tr.prepend(h("td", { "data-label": "" }, toggle));
    if (isOpen) holder.append(h("tr", { class: "detail", dataset: { key: `${key} details` } }, h("td", { colspan: String(this.columns.length + 1) }, this.expand(row))));
  }
}
