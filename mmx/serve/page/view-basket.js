// Recommendations for someone without a history: from the items they chose, or for anyone.

import { get, path, post } from "./api.js";
import { chosen, clear, remove } from "./basket.js";
import { card, grid, listed } from "./cards.js";
import { h } from "./dom.js";
import { filterBar } from "./filters.js";
import { announce, changed, chooser, empty, later, madeFrom, more, section } from "./parts.js";
import { filtersOf, go, link, number } from "./routes.js";
import { diversityField } from "./view-user.js";

const FEW = 12;
const MOST = 3; // of one value of the chosen column

const again = (change) => () => { change(); go(location.hash); };

function known(signal) {
  const one = (id) => get(path("items", id), {}, signal).catch((error) => {
    if (error.status === 404) return { item_id: id, title: `${id} (gone)`, text: null, columns: {}, picture: false };
    throw error;
  });
  return Promise.all(chosen().map(one));
}

function inside(signal) {
  if (!chosen().length) return empty("The basket is empty.", "Open an item and add it. Until then you see what a stranger is recommended.");
  return later(signal, () => known(signal), (items) => {
    const out = (item) => h("button", { type: "button", class: "small", "aria-label": `Take ${item.title || item.item_id} out`, on: { click: again(() => remove(item.item_id)) } }, "Take out");
    const cards = items.map((item) => card(item, { extra: [out(item)] }));
    return [grid(cards, items, "strip"), h("p", {}, h("button", { type: "button", on: { click: again(clear) } }, "Empty the basket"))];
  });
}

function capField(here, signal) {
  return madeFrom("columns", signal, (columns) => {
    const texts = columns.filter((each) => each.type === "text" && each.values?.length);
    const options = [["", "no limit"], ...texts.map(({ column }) => [column, `${MOST} of one ${column}`])];
    return texts.length ? chooser("At most", options, here.params.per ?? "", (per) => changed(here)({ per })) : null;
  });
}

function recommended(here, signal) {
  const k = number(here.params.k, FEW);
  const { per, diversity } = here.params;
  const body = { items: chosen(), filters: filtersOf(here.params), k, explain: true };
  if (diversity) body.diversity = Number(diversity);
  if (per) body.per = { column: per, most: MOST };
  return later(signal, () => post("recommend", body, signal), (answer) => {
    announce(answer.items.length, "recommendation");
    if (!answer.items.length) return [empty("No item is left to recommend.", "Remove a filter.")];
    return [listed(answer), more(answer.items.length, k, (next) => link("basket", null, { ...here.params, k: next }))];
  });
}

export function basketView(here, signal) {
  const tools = h("div", { class: "tools" }, capField(here, signal), diversityField(here), filterBar(here, signal));
  return { title: "Basket", nodes: [inside(signal), section("Recommended", tools, recommended(here, signal))] };
}
