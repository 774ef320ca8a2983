// A panel and its states. The markup comes from the macro `panel` in templates/_macros.html.
//
//   const panel = new Panel("#leaderboard", { empty: { text, action: { label, href | onclick } } })
//   panel.loading()  panel.ready({ source, simulated, ageMs })  panel.empty(text?, action?)
//   panel.error(error, retry)  panel.stale(words)
//   panel.content                     the element to paint into
//
//   const rows = resource({
//     panels: [panel, ...],           all show the state of this one reading
//     read: (signal) => api.get(...), // a promise of data
//     paint: (data) => ...,           // put it on the page
//     isEmpty: (data) => !data.length,
//     source: (data) => ({ source: t("Ledger of this workspace"), simulated: false, ageMs: 0 }),
//     every: 0,                       // ms between readings besides the pushes; 0: none
//   });
//   await rows.refresh()              reads again now          rows.hint()  soon (pushes come in crowds)
//   rows.data                         the last data            rows.stop()
// Every resource reads again by itself when the live connection comes back, and is stale while it is lost.

import { $, fill, h } from "../core/dom.js";
import { ago } from "../core/format.js";
import { t } from "../core/i18n.js";
import { everySecond } from "../core/clock.js";
import { live } from "../core/live.js";

const aging = new Set();
everySecond(() => {
  for (const panel of aging) panel.showAge();
});

export function actionButton(action) {
  if (!action) return null;
  if (action.href) return h("a", { class: "btn btn-primary btn-sm", href: action.href }, action.label);
  return h("button", { type: "button", class: "btn btn-primary btn-sm", onclick: action.onclick }, action.label);
}

export class Panel {
  constructor(target, { empty = null } = {}) {
    this.root = typeof target === "string" ? $(target) : target;
    this.content = $(".panel-content", this.root);
    this.stateBox = $(".panel-state", this.root);
    this.sourceBox = $(".panel-foot .src", this.root);
    this.ageBox = $(".panel-foot .age", this.root);
    this.emptyState = empty;
    this.readAt = null;
    this.ageAtRead = 0;
    aging.add(this);
  }

  get state() {
    return this.root.dataset.state;
  }

  get hasContent() {
    return this.state === "ready" || this.state === "stale";
  }

  #set(state, ...children) {
    this.root.dataset.state = state;
    this.root.setAttribute("aria-busy", String(state === "loading"));
    fill(this.stateBox, ...children);
  }

  loading() {
    if (!this.hasContent) this.#set("loading", h("span", { class: "loading-bar", "aria-hidden": "true" }), h("p", null, t("Loading…")));
  }

  ready({ source, simulated = false, ageMs = 0 } = {}) {
    this.#set("ready");
    if (source !== undefined && this.sourceBox) {
      fill(this.sourceBox, source);
      this.sourceBox.classList.toggle("is-simulated", simulated);
    }
    this.readAt = performance.now();
    this.ageAtRead = ageMs;
    this.showAge();
  }

  empty(text = this.emptyState?.text, action = this.emptyState?.action) {
    this.#set("empty", h("p", null, text ?? t("Nothing here yet.")), actionButton(action));
    this.readAt = performance.now();
    this.ageAtRead = 0;
    this.showAge();
  }

  error(error, retry) {
    this.#set(
      "error",
      h("p", { role: "alert" }, error?.message ?? String(error)),
      retry ? h("button", { type: "button", class: "btn btn-plain btn-sm", onclick: retry }, t("Try again")) : null,
    );
    this.readAt = null;
    this.showAge();
  }

  stale(words) {
    if (!this.hasContent) return;
    this.#set("stale", h("span", null, words));
  }

  showAge() {
    if (!this.ageBox) return;
    if (this.readAt === null) {
      this.ageBox.textContent = "";
      return;
    }
    const seconds = (performance.now() - this.readAt + this.ageAtRead) / 1000;
    this.ageBox.textContent = seconds < 3 ? t("up to date") : ago(Math.floor(seconds));
  }
}

export function resource({ panels = [], read, paint, isEmpty = () => false, source = () => ({}), every = 0, gap = 400 }) {
  let controller = null;
  let timer = null;
  let planned = null;
  let reading = false;
  let stopped = false;
  const self = { data: undefined, refresh, hint, stop };

  // Counted from the first hint, and never across a reading under way: pushes without a pause must not keep
  // putting the reading off, nor cut it short each time.
  function hint() {
    planned ??= setTimeout(() => {
      planned = null;
      if (reading) hint();
      else refresh();
    }, gap);
  }

  function show(data) {
    self.data = data;
    if (isEmpty(data)) for (const panel of panels) panel.empty();
    else {
      for (const panel of panels) panel.ready(source(data));
      paint(data);
    }
  }

  function fail(error) {
    for (const panel of panels) {
      if (panel.hasContent) panel.stale(t("Could not be read again: %(why)s", { why: error.message }));
      else panel.error(error, refresh);
    }
  }

  async function refresh() {
    if (stopped) return;
    controller?.abort();
    const mine = (controller = new AbortController());
    reading = true;
    for (const panel of panels) panel.loading();
    try {
      const data = await read(mine.signal);
      if (mine === controller && !stopped) show(data);
    } catch (error) {
      if (error.name === "AbortError" || mine !== controller || stopped) return;
      if (error.name !== "ApiError") console.error(error); // ours to mend: not swallowed
      fail(error);
    } finally {
      if (mine === controller) reading = false;
    }
  }

  function stop() {
    stopped = true;
    controller?.abort();
    clearInterval(timer);
    clearTimeout(planned);
    offs.forEach((off) => off());
  }

  const offs = [
    live.onResync(refresh),
    live.onState((state) => {
      if (state !== "disconnected") return;
      for (const panel of panels) panel.stale(t("Connection lost: these numbers are no longer live."));
    }),
  ];
  self.show = show;
  if (every) timer = setInterval(() => document.visibilityState === "visible" && refresh(), every);
  return self;
}
