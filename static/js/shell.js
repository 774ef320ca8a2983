// The frame of every page: menu, status bar, market clock, connection words and banner.

import { $, fill, pageData } from "./core/dom.js";
import { api } from "./core/api.js";
import { everySecond, marketNow, setMarketClock } from "./core/clock.js";
import { localText } from "./core/format.js";
import { t } from "./core/i18n.js";
import { live } from "./core/live.js";
import { banner, toast } from "./components/toast.js";

function menu() {
  const toggle = $("#nav-toggle");
  const nav = $("#nav-main");
  const set = (open) => {
    nav.classList.toggle("is-open", open);
    toggle.setAttribute("aria-expanded", String(open));
  };
  toggle.addEventListener("click", () => set(!nav.classList.contains("is-open")));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && nav.classList.contains("is-open")) {
      set(false);
      toggle.focus();
    }
  });
  document.addEventListener("click", (event) => {
    if (!nav.contains(event.target) && !toggle.contains(event.target)) set(false);
  });
}

// These four are the contract's words.
const WORDS = { connecting: "CONNECTING TO SERVER", connected: "CONNECTED", disconnected: "DISCONNECTED", error: "ERROR" };

function connection() {
  const item = $("#connection");
  let wasLost = false;
  live.onState((state) => {
    item.dataset.connection = state;
    $("b", item).textContent = WORDS[state];
    if (state === "disconnected") {
      wasLost = true;
      const since = localText(Date.now(), { date: false, seconds: true });
      banner("connection", t("Connection to the server lost at %(time)s. What you see is from then; trying again…", { time: since }));
    } else if (state === "error") {
      banner("connection", t("No live connection to the server: pages read again every few seconds instead."), { look: "error" });
    } else if (state === "connected") {
      banner("connection", null);
      if (wasLost) {
        toast(t("Connected again; everything was read anew."));
      }
      wasLost = false;
    }
  });
}

const pad = (n) => String(n).padStart(2, "0");

function showClock() {
  const now = new Date(marketNow());
  const clock = $("#clock");
  clock.textContent = `${now.getUTCFullYear()}-${pad(now.getUTCMonth() + 1)}-${pad(now.getUTCDate())} ${pad(now.getUTCHours())}:${pad(now.getUTCMinutes())}:${pad(now.getUTCSeconds())}`;
  clock.dateTime = now.toISOString();
}

const SCHEDULER = { running: () => t("running"), stopped: () => t("stopped"), elsewhere: () => t("in another process"), off: () => t("not running") };

// What the server pushes every few seconds.
function showPulse({ now_ms: now, speed, scheduler }) {
  setMarketClock(now, speed);
  const item = $("#scheduler");
  item.dataset.scheduler = scheduler;
  $("b", item).textContent = (SCHEDULER[scheduler] ?? (() => scheduler))();
  showClock();
}

function showStatus(status) {
  showPulse(status);
  for (const tag of document.querySelectorAll("[data-market-tag]")) {
    tag.classList.toggle("is-simulated", status.simulated);
    fill(tag, status.market_label);
  }
}

async function readStatus() {
  try {
    showStatus(await api.get("/api/shell"));
  } catch (error) {
    if (error.name !== "ApiError") throw error; // the panels say that the server is away
  }
}

function start() {
  menu();
  const first = pageData().shell;
  if (first) showStatus(first);
  everySecond(showClock);
  connection();
  live.on("status", showPulse);
  live.onResync(readStatus);
  live.start();
}

start();
