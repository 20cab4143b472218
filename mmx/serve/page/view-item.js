// One item: its picture large, what is known of it, and what is like it.

import { get, once, path } from "./api.js";
import { add, chosen, remove } from "./basket.js";
import { listed, modalityChooser, picture, titled } from "./cards.js";
import { h, say, shown } from "./dom.js";
import { filterBar } from "./filters.js";
import { announce, empty, later, more, section } from "./parts.js";
import { cleanFilters, link, number } from "./routes.js";

const FEW = 12;

function basketButton(item) {
  const button = h("button", { type: "button", class: "main-button", id: "basket-button" });
  const fill = () => {
    const inside = chosen().includes(item.item_id);
    button.textContent = inside ? "Take out of the basket" : "Add to the basket";
    button.setAttribute("aria-pressed", String(inside));
  };
  button.addEventListener("click", () => {
    const inside = chosen().includes(item.item_id);
    (inside ? remove : add)(item.item_id);
    say(inside ? "Taken out of the basket" : "Added to the basket");
    fill();
  });
  fill();
  return button;
}

function about(item) {
  document.title = `${titled(item)} · mmx`;
  document.getElementById("title").textContent = titled(item);
  const rows = [["id", item.item_id], ...Object.entries(item.columns ?? {})].map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, shown(value))));
  const text = item.text && item.text !== item.title ? h("p", { class: "text" }, item.text) : null;
  const none = item.picture ? null : h("p", { class: "quiet" }, "This item has no picture.");
  return h(
    "article",
    { class: "item" },
    picture(item, 768, titled(item)),
    h("div", { class: "item-words" }, text, none, h("dl", { class: "columns" }, rows), h("p", {}, basketButton(item))),
  );
}

/** What items are compared by: as chosen, else the text where there is no picture. */
async function compared(here, item) {
  if (here.params.modality || (await item).picture) return here.params.modality;
  const store = await once("store").catch(() => ({})); // no store: the list itself says so
  return "text" in (store.modalities ?? {}) ? "text" : null;
}

function similar(here, item, signal) {
  const filters = cleanFilters(here.params);
  const k = number(here.params.k, FEW);
  const load = async () => get(path("similar", here.id), { k, modality: await compared(here, item), filters }, signal);
  return later(signal, load, (answer) => {
    announce(answer.items.length, "similar item");
    if (!answer.items.length) return [empty("Nothing is similar.", filters ? "Remove a filter." : "The store has no other vector.")];
    return [listed(answer), more(answer.items.length, k, (next) => link("item", here.id, { ...here.params, k: next }))];
  });
}

export function itemView(here, signal) {
  if (!here.id) return { title: "Item", nodes: [empty("No item is named in this address.")] };
  const asked = get(path("items", here.id), {}, signal);
  const item = later(signal, () => asked, about, 1);
  const tools = h("div", { class: "tools" }, modalityChooser("Alike in", here, signal), filterBar(here, signal));
  return { title: here.id, nodes: [item, section("Similar items", tools, similar(here, asked, signal))] };
}
