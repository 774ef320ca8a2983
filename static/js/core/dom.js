// Building nodes. Whatever a person typed becomes a text node: nothing here parses HTML.
//
//   h("td", { class: "n up", title: "...", onclick: fn, dataset: {id: 1}, style: {width: "3px"} }, "text", node, null, [more])
//   svg("path", { d: "..." })
//   fill(element, ...children)     replaces the children
//   $(selector, root), $$(selector, root)
//   pageData()                     the JSON that the server rendered into the page
//   debounce(fn, ms), frame(fn)    fn at most once in ms (trailing), or once a frame

function append(parent, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(parent, child);
    else parent.append(child instanceof Node ? child : String(child));
  }
}

function setProps(element, props) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.setAttribute("class", value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "style") Object.assign(element.style, value); // CSSOM: allowed by the CSP
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "selected" || name === "indeterminate") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  setProps(element, props);
  append(element, children);
  return element;
}

export function svg(tag, props, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  setProps(element, props);
  append(element, children);
  return element;
}

export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

let parsed;
export function pageData() {
  if (parsed === undefined) {
    const block = document.getElementById("page-data");
    parsed = block ? JSON.parse(block.textContent) : {};
  }
  return parsed;
}

export function debounce(fn, ms) {
  let timer;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => fn(...args), ms);
  };
}

export function frame(fn) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      fn();
    });
  };
}

let counter = 0;
export const uid = (prefix = "c") => `${prefix}-${++counter}`;
