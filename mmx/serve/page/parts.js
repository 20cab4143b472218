// What several views are made of: something that loads, a fault, an empty list, pages of a list.

import { once } from "./api.js";
import { count, h, say, whole } from "./dom.js";
import { go, link } from "./routes.js";

/** What went wrong, in words, and what to do. */
export function fault(error) {
  if (error.status === 401) window.dispatchEvent(new CustomEvent("token-needed", { detail: error.message }));
  const [title, help] = explained(error.status);
  const words = [h("strong", {}, title), h("p", {}, error.message)];
  const hint = help ? h("p", { class: "quiet" }, help) : null;
  const again = h("button", { type: "button", class: "again", on: { click: () => go(location.hash) } }, "Try again");
  return h("div", { class: "fault", role: "alert" }, words, hint, again);
}

function explained(status) {
  const known = {
    0: ["No answer", null],
    401: ["A token is needed", null],
    404: ["Not found", "It may be new, or from another catalogue."],
    409: ["Not possible with what is served", null],
    413: ["Too large", "A smaller picture will do: it is scaled down in any case."],
    415: ["Not a picture", "JPEG, PNG and WebP files can be searched for."],
    422: ["Not understood", "Check the filters and the numbers in the address."],
    503: ["Busy", "Many requests are waiting. Try again in a moment."],
  };
  return known[status] ?? ["Something went wrong", null];
}

/** An empty list, in words. */
export const empty = (title, ...help) => h("div", { class: "empty" }, h("strong", {}, title), help.map((each) => h("p", {}, each)));

const skeleton = (tiles) =>
  h("div", { class: "grid", "aria-hidden": "true" }, Array.from({ length: tiles }, () => h("div", { class: "bone" })));

/** A box that fills itself once `load` has answered, or says what went wrong. */
export function later(signal, load, render, tiles = 6) {
  const box = h("div", { "aria-busy": "true" }, skeleton(tiles));
  const done = (...nodes) => {
    box.replaceChildren(...nodes.flat(Infinity).filter(Boolean));
    box.removeAttribute("aria-busy");
  };
  Promise.resolve()
    .then(load)
    .then((answer) => !signal.aborted && done(render(answer)))
    .catch((error) => {
      if (signal.aborted || error.name === "AbortError") return;
      if (!("status" in error)) console.error(error);
      done(fault(error));
    });
  return box;
}

/** Previous and next of a list that is read in pages; null where one page holds everything. */
export function pages(total, offset, limit, address) {
  if (total <= limit && offset === 0) return null;
  const last = Math.min(offset + limit, total);
  const step = (text, to, rel) =>
    to === null ? h("span", { class: "page-step off" }, text) : h("a", { class: "page-step", href: address(to), rel }, text);
  return h(
    "nav",
    { class: "pages", "aria-label": "Pages" },
    step("Previous", offset > 0 ? Math.max(0, offset - limit) : null, "prev"),
    h("span", { class: "quiet" }, `${whole(Math.min(offset + 1, total))}–${whole(last)} of ${whole(total)}`),
    step("Next", last < total ? offset + limit : null, "next"),
  );
}

/** A link to the same list with more of it; null where there is no more. */
export function more(shown, k, address) {
  if (shown < k || k >= 200) return null;
  const next = Math.min(200, k + 24);
  return h("p", { class: "pages" }, h("a", { class: "page-step", href: address(next), rel: "next" }, `Show ${next - k} more`));
}

/** A labelled `select`: options are [value, text]; `change` gets the chosen value. */
export function chooser(label, options, value, change) {
  const made = options.map(([each, text]) => h("option", { value: each, selected: each === value }, text));
  const select = h("select", { "data-name": label, on: { change: (event) => change(event.target.value) } }, made);
  return h("label", { class: "field" }, h("span", {}, label), select);
}

/** What `make` makes of an answer, once it is there; a view's own list says what is wrong with it. */
export function madeFrom(address, signal, make) {
  const box = h("div", {});
  once(address).then((answer) => {
    const made = signal.aborted ? null : make(answer);
    if (made) box.append(made);
  }, () => {});
  return box;
}

/** A section with a heading, and a quiet line beside it. */
export function section(title, ...children) {
  return h("section", {}, h("h2", {}, title), children);
}

/** A function that goes to the same view with some of its parameters changed. */
export const changed = (here) => (params) => go(link(here.view, here.id, { ...here.params, ...params }));

export const announce = (number, what) => say(number ? count(number, what) : `No ${what}s found`);
