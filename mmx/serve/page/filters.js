// Filters on the columns of the items: chips of those that hold, and a form for one more.

import { once } from "./api.js";
import { h, shown } from "./dom.js";
import { changed } from "./parts.js";
import { filtersOf, filtersText } from "./routes.js";

const WORDS = { "=": "is", "!=": "is not", "<": "below", "<=": "at most", ">": "above", ">=": "at least", in: "one of", contains: "contains" };
const OPERATORS = {
  number: ["<", "<=", "=", "!=", ">", ">=", "in"],
  text: ["=", "!=", "contains", "in"],
  boolean: ["=", "!="],
  time: ["<", "<=", "=", ">", ">="],
};

function one(text, type) {
  if (type === "number") return text.trim() === "" ? Number.NaN : Number(text);
  if (type === "boolean") return { true: true, yes: true, false: false, no: false }[text.trim().toLowerCase()];
  return text;
}

/** The value of a filter, or null where the text is none for a column of this type. */
export function valueOf(text, op, type) {
  const values = (op === "in" ? text.split(",").map((each) => each.trim()) : [text]).map((each) => one(each, type));
  if (values.some((each) => each === undefined || Number.isNaN(each) || each === "")) return null;
  return op === "in" ? values : values[0];
}

function chip(filter, remove) {
  const value = Array.isArray(filter.value) ? filter.value.map(shown).join(", ") : shown(filter.value);
  const text = `${filter.column} ${WORDS[filter.op] ?? filter.op} ${value}`;
  return h("li", {}, h("button", { type: "button", class: "chip", "aria-label": `Remove the filter: ${text}`, on: { click: remove } }, text, h("span", { "aria-hidden": "true" }, "×")));
}

function form(columns, add) {
  const names = columns.map((each) => h("option", { value: each.column }, each.column));
  const column = h("select", { name: "column" }, names);
  const op = h("select", { name: "op" });
  const known = h("datalist", { id: "filter-values" });
  const value = h("input", { name: "value", list: "filter-values", autocomplete: "off", required: true });
  const wrong = h("p", { class: "wrong", role: "alert" });
  const chosen = () => columns.find((each) => each.column === column.value);
  const fill = () => {
    op.replaceChildren(...(OPERATORS[chosen().type] ?? OPERATORS.text).map((each) => h("option", { value: each }, WORDS[each])));
    const values = chosen().type === "boolean" ? ["true", "false"] : (chosen().values ?? []);
    known.replaceChildren(...values.map((each) => h("option", { value: String(each) })));
    value.setAttribute("inputmode", chosen().type === "number" ? "decimal" : "text");
  };
  column.addEventListener("change", fill);
  fill();
  const submit = (event) => {
    event.preventDefault();
    const read = valueOf(value.value, op.value, chosen().type);
    if (read !== null) return add({ column: column.value, op: op.value, value: read });
    wrong.textContent = `${column.value} is a ${chosen().type}: “${value.value}” is not one.`;
    return value.focus();
  };
  const field = (text, control) => h("label", { class: "field" }, h("span", {}, text), control);
  return h("form", { class: "filter-form", on: { submit } }, field("Column", column), field("Condition", op), field("Value", value), known, h("button", { type: "submit" }, "Add filter"), wrong);
}

/** Chips and form for the filters of the view `here`; changing one goes to a new address. */
export function filterBar(here, signal) {
  const filters = filtersOf(here.params);
  const change = (next) => changed(here)({ filters: filtersText(next), offset: null });
  const box = h("details", { class: "filters", hidden: true }, h("summary", {}, filters.length ? `Filters (${filters.length})` : "Filters"));
  const chips = filters.map((each, at) => chip(each, () => change(filters.filter((_, other) => other !== at))));
  once("columns").then((columns) => {
    if (signal.aborted || !columns.length) return;
    box.append(form(columns, (filter) => change([...filters, filter])));
    box.hidden = false;
  }, () => {}); // the list itself says what is wrong
  return h("div", { class: "filter-bar" }, box, chips.length ? h("ul", { class: "chips", "aria-label": "Filters that hold" }, chips) : null);
}
