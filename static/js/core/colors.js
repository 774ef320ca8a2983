// One colour for each model, the same everywhere: it follows from the model's id alone.
// Green and red are kept for up and down.
//
//   modelColor(id)   coinColor(index)   alpha(color, 0..1)   swatch(color)   theme.up ...

import { h } from "./dom.js";

const MODELS = ["#4c9ffe", "#c792ea", "#f5a65b", "#4dd0e1", "#f06cb4", "#d4c45a", "#8c9eff", "#9ccc65", "#ff8a65", "#7fb8c9", "#b39ddb", "#e0a3c8"];
// A ramp of one hue, largest first: a coin must not look like a model.
const COINS = ["#c9d6e8", "#adbfd8", "#92a8c6", "#7991b2", "#637b9c", "#526886", "#445771", "#39495f"];

export const theme = {
  background: "#0b0f14", panel: "#121820", line: "#1e2733", text: "#d7dee8", quiet: "#8594a6",
  accent: "#4c9ffe", up: "#2ebd85", down: "#f6465d", warn: "#f0b90b",
};

function hslToHex(hue, saturation, lightness) {
  const a = saturation * Math.min(lightness, 1 - lightness);
  const channel = (n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (lightness - a * Math.max(-1, Math.min(k - 3, 9 - k, 1)))).toString(16).padStart(2, "0");
  };
  return `#${channel(0)}${channel(8)}${channel(4)}`;
}

export function modelColor(id) {
  const n = Math.max(0, Number(id) - 1);
  if (n < MODELS.length) return MODELS[n];
  // golden angle: neighbours far apart
  return hslToHex((n * 137.508) % 360, 0.62, 0.68);
}

export const coinColor = (index) => COINS[Math.min(index, COINS.length - 1)];

export function alpha(hex, opacity) {
  const n = parseInt(hex.slice(1), 16);
  return `rgba(${n >> 16}, ${(n >> 8) & 255}, ${n & 255}, ${opacity})`;
}

export const swatch = (color) => h("span", { class: "swatch", "aria-hidden": "true", style: { backgroundColor: color } });
