// Words. English is the source; other languages come from /i18n/LOCALE.js, which sets `curlewMessages`
// from the same gettext catalogue that the templates use.
//
//   t("Paused %(name)s", { name })           one message, with named places
//   ngettext("%(num)s trade", "%(num)s trades", 3)   plural; `num` is filled in
//   locale                                   BCP 47 tag of the page, for Intl
// `make messages` looks neither into `${...}` nor into the arguments of another t(): call t() outside of them.

const messages = globalThis.curlewMessages ?? {};

export const locale = document.documentElement.lang || "en";

function fill(text, values) {
  return text.replace(/%\((\w+)\)[sd]/g, (whole, name) => (name in values ? String(values[name]) : whole)).replaceAll("%%", "%");
}

export function t(text, values) {
  const found = messages[text];
  const chosen = typeof found === "string" && found ? found : text;
  return values ? fill(chosen, values) : chosen;
}

export function ngettext(one, many, num, values = {}) {
  const found = messages[one];
  const forms = Array.isArray(found) ? found : [one, many];
  const index = forms.length === 1 ? 0 : new Intl.PluralRules(locale).select(num) === "one" ? 0 : 1;
  return fill(forms[index] || (num === 1 ? one : many), { num, ...values });
}
