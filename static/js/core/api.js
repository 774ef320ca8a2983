// The JSON routes.
//
//   await api.get("/api/coins", { is_active: "all" })      query values that are null or "" are left out
//   await api.post(url, body), api.put(url, body), api.del(url, body)
//   await api.fetch(url)                                   the Response, for its headers
// A failure is an ApiError with .message (words for people), .status (0: no answer) and .field.

import { $ } from "./dom.js";
import { t } from "./i18n.js";

export class ApiError extends Error {
  constructor(message, status, field = null) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.field = field;
  }
}

const MUTATES = new Set(["POST", "PUT", "PATCH", "DELETE"]);

function address(url, query) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== null && value !== undefined && value !== "") search.set(name, value);
  }
  const text = search.toString();
  return text ? `${url}${url.includes("?") ? "&" : "?"}${text}` : url;
}

async function failure(response) {
  let body = null;
  try {
    body = await response.json();
  } catch {
    body = null; // a proxy's page, not ours
  }
  if (response.status === 401 && !body?.field) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  const words = typeof body?.error === "string" ? body.error : t("The server answered with status %(status)s.", { status: response.status });
  return new ApiError(words, response.status, body?.field ?? null);
}

async function request(method, url, { body, query, signal, form } = {}) {
  const headers = { Accept: "application/json" };
  if (MUTATES.has(method)) headers["X-CSRFToken"] = $('meta[name="csrf-token"]')?.content ?? "";
  let payload;
  if (form) payload = form;
  else if (body !== undefined) {
    headers["Content-Type"] = "application/json";
    payload = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(address(url, query), { method, headers, body: payload, signal, credentials: "same-origin", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(t("The server does not answer. Is it still running?"), 0);
  }
  if (!response.ok) throw await failure(response);
  return response;
}

async function json(method, url, options) {
  const response = await request(method, url, options);
  if (response.status === 204) return null;
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

export const api = {
  get: (url, query, options) => json("GET", url, { query, ...options }),
  post: (url, body = {}, options) => json("POST", url, { body, ...options }),
  put: (url, body = {}, options) => json("PUT", url, { body, ...options }),
  del: (url, body, options) => json("DELETE", url, { body, ...options }),
  upload: (url, form, options) => json("POST", url, { form, ...options }),
  fetch: (url, query, options) => request("GET", url, { query, ...options }),
};
