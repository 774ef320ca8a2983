// Forms as JSON. The markup comes from the macros `field`, `select`, `check` in templates/_macros.html,
// or from `fieldNode` here; `name` may be dotted (risk.max_leverage).
//
//   readForm(form)            {name: value}: numbers as numbers, checkboxes as booleans, empty as null
//   fillForm(form, values)
//   showProblem(form, error)  an ApiError beside its field (error.field), or above the form; clearProblems(form)
//   onSubmit(form, async (values) => ...)   disables while busy, shows what is wrong where it is wrong
//   fieldNode({ name, label, type, value, hint, options, unit, min, max, step, required, placeholder, disabled })
// A component that is not an <input> takes part by registering: form.curlewFields = { coins: { get, set, problem } }.

import { $, $$, fill, h, uid } from "../core/dom.js";
import { t } from "../core/i18n.js";

function put(target, path, value) {
  const names = path.split(".");
  const last = names.pop();
  const holder = names.reduce((object, name) => (object[name] ??= {}), target);
  holder[last] = value;
}

const dig = (source, path) => path.split(".").reduce((object, name) => object?.[name], source);

function valueOf(input) {
  if (input.type === "checkbox") return input.checked;
  const text = input.value.trim();
  if (input.type === "number" || input.dataset.type === "number") return text === "" ? null : Number(text);
  if (input.dataset.type === "integer-id") return text === "" ? null : parseInt(text, 10);
  return text === "" ? null : text;
}

export function readForm(form) {
  const values = {};
  for (const input of $$("input[name], select[name], textarea[name]", form)) {
    if (input.disabled || (input.type === "radio" && !input.checked)) continue;
    put(values, input.name, valueOf(input));
  }
  for (const [name, field] of Object.entries(form.curlewFields ?? {})) put(values, name, field.get());
  return values;
}

export function fillForm(form, source) {
  for (const input of $$("input[name], select[name], textarea[name]", form)) {
    const value = dig(source, input.name);
    if (value === undefined) continue;
    if (input.type === "checkbox") input.checked = Boolean(value);
    else if (input.type === "radio") input.checked = input.value === String(value);
    else input.value = value === null ? "" : String(value);
  }
  for (const [name, field] of Object.entries(form.curlewFields ?? {})) {
    const value = dig(source, name);
    if (value !== undefined) field.set(value);
  }
}

export function clearProblems(form) {
  for (const input of $$(".is-invalid", form)) {
    input.classList.remove("is-invalid");
    input.removeAttribute("aria-invalid");
  }
  for (const note of $$(".invalid-feedback", form)) note.remove();
  for (const alert of $$(".form-alert", form)) alert.remove();
  for (const field of Object.values(form.curlewFields ?? {})) field.problem?.(null);
}

function problemAt(input, words) {
  const id = uid("problem");
  input.classList.add("is-invalid");
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", id);
  const holder = input.closest(".input-group") ?? input;
  const note = h("div", { class: "invalid-feedback d-block", id }, words);
  holder.after(note);
  input.addEventListener("input", () => {
    input.classList.remove("is-invalid");
    input.removeAttribute("aria-invalid");
    note.remove();
  }, { once: true });
}

export function showProblem(form, error) {
  clearProblems(form);
  const name = error.field;
  // "coins.0" or "risk.max_leverage": the longest part of the path that the form knows
  const parts = name ? String(name).split(".") : [];
  for (let n = parts.length; n > 0; n -= 1) {
    const path = parts.slice(0, n).join(".");
    const field = form.curlewFields?.[path];
    if (field?.problem) {
      field.problem(error.message);
      return;
    }
    const input = form.elements.namedItem(path) ?? form.elements.namedItem(parts[parts.length - 1]);
    if (input instanceof Element) {
      input.closest("details")?.setAttribute("open", "");
      problemAt(input, error.message);
      input.focus();
      return;
    }
  }
  const alert = h("div", { class: "form-alert", role: "alert", tabindex: "-1" }, error.message);
  form.prepend(alert);
  alert.focus();
}

export function onSubmit(form, handler) {
  form.noValidate = true; // our words, in the page's language, from the server that decides
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.getAttribute("aria-busy") === "true") return;
    clearProblems(form);
    const bad = $$("input[name], select[name], textarea[name]", form).find((input) => !input.disabled && !input.checkValidity());
    if (bad) {
      bad.closest("details")?.setAttribute("open", "");
      problemAt(bad, bad.validationMessage);
      bad.focus();
      return;
    }
    const buttons = $$("button[type=submit]", form);
    form.setAttribute("aria-busy", "true");
    buttons.forEach((button) => (button.disabled = true));
    try {
      await handler(readForm(form), event);
    } catch (error) {
      if (error.name !== "ApiError") console.error(error);
      showProblem(form, error);
    } finally {
      form.removeAttribute("aria-busy");
      buttons.forEach((button) => (button.disabled = false));
    }
  });
}

function control(id, { name, type = "text", value, options, hint, ...rest }) {
  const shared = { id, name, "aria-describedby": hint ? `${id}-hint` : null, ...rest };
  if (options) {
    return h("select", { class: "form-select", ...shared },
      options.map((option) => h("option", { value: option.value, selected: String(option.value) === String(value ?? "") }, option.label)));
  }
  if (type === "textarea") return h("textarea", { class: "form-control", rows: "3", ...shared, value: value ?? "" });
  return h("input", { class: "form-control", type, ...(type === "number" ? { inputmode: "decimal", step: rest.step ?? "any" } : {}), ...shared, value: value ?? "" });
}

export function fieldNode({ label, unit, class: look = "", ...options }) {
  const id = uid("field");
  const input = control(id, options);
  return h("div", { class: look },
    h("label", { class: "form-label", for: id }, label),
    unit ? h("div", { class: "input-group" }, input, h("span", { class: "input-group-text" }, unit)) : input,
    options.hint ? h("div", { class: "form-text", id: `${id}-hint` }, options.hint) : null);
}

export function checkNode({ name, label, checked = false, hint, type = "checkbox", look = "form-switch", onchange }) {
  const id = uid("check");
  return h("div", { class: `form-check ${look}` },
    h("input", { class: "form-check-input", type, role: look === "form-switch" ? "switch" : null, id, name, checked, onchange }),
    h("label", { class: "form-check-label", for: id }, label),
    hint ? h("div", { class: "form-text" }, hint) : null);
}

// Buttons of which one is pressed: segmented(container, [{value, label}], value, onChange)
export function segmented(container, choices, value, onChange) {
  const draw = (current) => {
    for (const button of $$("button", container)) button.setAttribute("aria-pressed", String(button.dataset.value === String(current)));
  };
  container.classList.add("segmented");
  container.setAttribute("role", "group");
  fill(container, choices.map((choice) => h("button", {
    type: "button", title: choice.title ?? null, dataset: { value: String(choice.value) },
    onclick: () => {
      draw(choice.value);
      onChange(choice.value);
    },
  }, choice.label)));
  draw(value);
  return { set: draw };
}

export const $field = (form, name) => $(`[name="${CSS.escape(name)}"]`, form);
export const problemWords = (error) => (error?.message ? error.message : t("Something went wrong."));
