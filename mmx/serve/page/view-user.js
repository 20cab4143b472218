// One user: what they took, and what they are recommended.

import { get, path } from "./api.js";
import { card, grid, listed } from "./cards.js";
import { count, h } from "./dom.js";
import { filterBar } from "./filters.js";
import { announce, changed, chooser, empty, later, madeFrom, more, pages, section } from "./parts.js";
import { cleanFilters, link, number } from "./routes.js";

const FEW = 12;
const SPLITS = { train: "training", valid: "validation", validation: "validation", test: "test" };

function history(here, signal) {
  const offset = number(here.params.past, 0);
  const nothing = { total: 0, history: [] }; // of an unknown user; the recommendations say that they are
  const unknown = (error) => (error.status === 404 ? nothing : Promise.reject(error));
  const load = () => get(path("users", here.id), { offset, limit: FEW }, signal).catch(unknown);
  return later(signal, load, (answer) => {
    if (!answer.total) return [empty("Nothing is known of this user.", "A newcomer can be tried with the basket.")];
    const cards = answer.history.map(({ item, split }) => card(item, { mark: h("p", { class: "split" }, SPLITS[split] ?? split) }));
    return [
      h("p", { class: "quiet total" }, count(answer.total, "item")),
      grid(cards, answer.history.map((each) => each.item), "strip"),
      pages(answer.total, offset, FEW, (to) => link("user", here.id, { ...here.params, past: to })),
    ];
  }, 6);
}

function recommended(here, signal) {
  const { run, diversity } = here.params;
  const filters = cleanFilters(here.params);
  const k = number(here.params.k, FEW);
  const load = () => get(path("recommend", here.id), { k, filters, explain: true, diversity, run }, signal);
  return later(signal, load, (answer) => {
    announce(answer.items.length, "recommendation");
    if (!answer.items.length) return [empty("No item is left to recommend.", filters ? "Remove a filter." : "This user has taken everything.")];
    return [listed(answer), more(answer.items.length, k, (next) => link("user", here.id, { ...here.params, k: next }))];
  });
}

export function diversityField(here) {
  const value = here.params.diversity ?? "0";
  const shown = h("output", { for: "diversity" }, value);
  const range = h("input", { type: "range", id: "diversity", min: "0", max: "1", step: "0.1", value });
  range.addEventListener("input", () => { shown.textContent = range.value; });
  let later;
  range.addEventListener("change", () => {
    clearTimeout(later); // keys change it step by step, and drawing the view again would lose the next one
    later = setTimeout(() => {
      if (range.isConnected) changed(here)({ diversity: range.value === "0" ? null : range.value });
    }, 300);
  });
  return h("label", { class: "field" }, h("span", {}, "Diversity ", shown), range);
}

function runs(here, signal) {
  return madeFrom("runs", signal, (all) => {
    const options = all.map((each) => [each.name, each.name]);
    return all.length > 1 ? chooser("Run", options, here.params.run ?? all[0].name, (run) => changed(here)({ run })) : null;
  });
}

export function userView(here, signal) {
  if (!here.id) return { title: "User", nodes: [empty("No user is named in this address.")] };
  const tools = h("div", { class: "tools" }, runs(here, signal), diversityField(here), filterBar(here, signal));
  return {
    title: here.id,
    nodes: [section("Recommended", tools, recommended(here, signal)), section("History", history(here, signal))],
  };
}
