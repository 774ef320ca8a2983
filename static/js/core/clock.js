// The market's clock: real on real markets, faster on a simulated one. Corrected by every answer that carries it.
//
//   marketNow()            ms of the market's clock
//   setMarketClock(ms, speed)
//   everySecond(fn)        one shared timer for ages and clocks; returns the call that stops it

let base = Date.now();
let at = performance.now();
let speed = 1;

export function setMarketClock(ms, newSpeed = speed) {
  if (typeof ms !== "number") return;
  base = ms;
  at = performance.now();
  speed = newSpeed || 1;
}

export const marketNow = () => base + (performance.now() - at) * speed;
export const marketSpeed = () => speed;

const ticks = new Set();
setInterval(() => {
  for (const tick of ticks) tick();
}, 1000);

export function everySecond(fn) {
  ticks.add(fn);
  return () => ticks.delete(fn);
}
