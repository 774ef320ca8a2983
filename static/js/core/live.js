// The live connection. A push is a hint, the routes are the truth: on every (re)connection each
// resource of the page reads again.
//
//   live.on("trade_executed", (data) => ...)      returns the call that stops listening
//   live.subscribe({ coins: ["BTC"], channels: ["kline_update"] })   adds to what is asked for
//   live.onResync(fn)            after a reconnection, and every few seconds where no live connection is allowed
//   live.onState((state) => ...) "connecting" | "connected" | "disconnected" | "error"
//   live.state, live.lostAt (Date or null)
//   live.start()                 called once, by shell.js

const socketOptions = {
  transports: ["websocket", "polling"],
  reconnectionDelay: 500,
  reconnectionDelayMax: 3000,
  timeout: 5000,
  autoConnect: false,
};
const POLL_MS = 5000;
const REFUSED_RETRY_MS = 10_000;
const FAILURES_BEFORE_POLLING = 5;

class Live {
  constructor() {
    this.state = "connecting";
    this.lostAt = null;
    this.socket = null;
    this.handlers = new Map();
    this.resyncs = new Set();
    this.watchers = new Set();
    this.channels = new Set();
    this.coins = new Set();
    this.seen = false;
    this.failures = 0;
    this.poll = null;
  }

  start() {
    if (this.socket || typeof io !== "function") return;
    this.socket = io(socketOptions);
    this.socket.on("connect", () => this.#connected());
    this.socket.on("disconnect", (reason) => this.#disconnected(reason));
    this.socket.on("connect_error", () => this.#refused());
    for (const name of this.handlers.keys()) this.#listen(name);
    // Chrome suspends background tabs: what was missed is read again when the page is looked at.
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible" && this.state === "connected" && this.hiddenFor() > 60_000) this.#resync();
      this.hiddenAt = document.visibilityState === "hidden" ? performance.now() : null;
    });
    this.socket.connect();
  }

  hiddenFor() {
    return this.hiddenAt == null ? 0 : performance.now() - this.hiddenAt;
  }

  on(name, handler) {
    if (!this.handlers.has(name)) {
      this.handlers.set(name, new Set());
      if (this.socket) this.#listen(name);
    }
    this.handlers.get(name).add(handler);
    return () => this.handlers.get(name).delete(handler);
  }

  onResync(handler) {
    this.resyncs.add(handler);
    return () => this.resyncs.delete(handler);
  }

  onState(handler) {
    this.watchers.add(handler);
    handler(this.state);
    return () => this.watchers.delete(handler);
  }

  subscribe({ channels = [], coins = [] }) {
    for (const channel of channels) this.channels.add(channel);
    for (const coin of coins) this.coins.add(coin);
    this.#ask();
  }

  unsubscribe({ coins = [] }) {
    for (const coin of coins) this.coins.delete(coin);
    this.#ask();
  }

  #ask() {
    if (this.state !== "connected" || this.asking) return;
    this.asking = true;
    // Pages subscribe piece by piece: one message for all. Without coins, prices would mean those of every coin.
    queueMicrotask(() => {
      this.asking = false;
      const coins = [...this.coins];
      const channels = [...this.channels].filter((name) => coins.length || !["price_update", "kline_update"].includes(name));
      if (channels.length) this.socket.emit("subscribe", { channels, coins });
    });
  }

  #listen(name) {
    this.socket.on(name, (data) => {
      for (const handler of this.handlers.get(name)) handler(data);
    });
  }

  #set(state) {
    if (state === this.state) return;
    if (this.state === "connected") this.lostAt = new Date();
    if (state === "connected") this.lostAt = null;
    this.state = state;
    for (const watcher of this.watchers) watcher(state);
  }

  #connected() {
    const again = this.seen;
    this.seen = true;
    this.failures = 0;
    this.#stopPolling();
    this.#set("connected");
    this.#ask();
    if (again) this.#resync();
  }

  #disconnected(reason) {
    this.#set("disconnected");
    // the server said goodbye: the client does not come back by itself
    if (reason === "io server disconnect") setTimeout(() => this.socket.connect(), 1000);
  }

  #refused() {
    this.failures += 1;
    const isRefused = !this.socket.active; // by the server itself; else the client goes on trying
    if (!this.seen || isRefused) this.#set("error");
    // Pages may be served though live connections are not.
    if (!this.seen || isRefused || this.failures >= FAILURES_BEFORE_POLLING) this.#startPolling();
    if (isRefused) setTimeout(() => this.socket.connect(), REFUSED_RETRY_MS);
  }

  #startPolling() {
    this.poll ??= setInterval(() => this.#resync(), POLL_MS);
  }

  #stopPolling() {
    clearInterval(this.poll);
    this.poll = null;
  }

  #resync() {
    for (const handler of this.resyncs) handler();
  }
}

export const live = new Live();
