// Tabs with the keyboard pattern: arrows move, the panel follows; the chosen tab is kept in the address (#name).
//
//   makeTabs(tablist, (tabId) => ...)     buttons with role=tab and aria-controls

import { $$ } from "../core/dom.js";

export function makeTabs(list, onShow = () => {}) {
  const tabs = $$("[role=tab]", list);
  const show = (tab, focus = false) => {
    for (const one of tabs) {
      const chosen = one === tab;
      one.setAttribute("aria-selected", String(chosen));
      one.tabIndex = chosen ? 0 : -1;
      document.getElementById(one.getAttribute("aria-controls")).hidden = !chosen;
    }
    if (focus) tab.focus();
    onShow(tab.id);
  };
  const choose = (tab, focus = false) => {
    history.replaceState(null, "", `${location.pathname}${location.search}#${tab.id.replace(/^tab-/, "")}`);
    show(tab, focus);
  };
  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) choose(tab);
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    choose(tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length], true);
  });
  const asked = tabs.find((tab) => `#${tab.id.replace(/^tab-/, "")}` === location.hash);
  show(asked ?? tabs[0]);
  return { show: (id) => choose(document.getElementById(id)) };
}
