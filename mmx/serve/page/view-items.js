// All items, and the search for some: by meaning, by letters, by a picture.

import { get, postPicture } from "./api.js";
import { card, grid, listed, modalityChooser } from "./cards.js";
import { count, h } from "./dom.js";
import { filterBar } from "./filters.js";
import { announce, changed, chooser, empty, later, more, pages } from "./parts.js";
import { cleanFilters, go, link, number } from "./routes.js";

const PAGE = 24;
let dropped = null; // the picture searched by; it cannot be in an address

function searchByPicture(file) {
  if (!file) return;
  dropped = file;
  go(link("", null, { by: "picture" }));
}

function searchForm(here) {
  const { q = "", by = "meaning" } = here.params;
  const words = h("input", { type: "search", id: "q", name: "q", value: q, placeholder: "red floral dress", autocomplete: "off", "aria-label": "Search the items" });
  const file = h("input", { type: "file", id: "picture", accept: "image/jpeg,image/png,image/webp", class: "unseen", on: { change: () => searchByPicture(file.files[0]) } });
  const submit = (event) => {
    event.preventDefault();
    go(link("", null, { ...here.params, q: words.value.trim(), by: by === "letters" ? by : null, offset: null, k: null }));
  };
  return h(
    "form",
    { class: "search", role: "search", on: { submit } },
    h("div", { class: "search-box" }, words, h("label", { class: "pick", for: "picture", title: "Choose a picture, or drop or paste one anywhere" }, file, h("span", {}, "Picture")), h("button", { type: "submit", class: "main-button" }, "Search")),
  );
}

function howChooser(here) {
  const options = [["meaning", "meaning"], ["letters", "letters of the title or id"]];
  const typed = () => document.getElementById("q").value.trim();
  return chooser("Search by", options, here.params.by === "letters" ? "letters" : "meaning",
    (value) => changed(here)({ by: value === "letters" ? value : null, q: typed(), offset: null }));
}

function receive(signal) {
  const over = (event) => { event.preventDefault(); document.body.classList.add("dropping"); };
  const out = () => document.body.classList.remove("dropping");
  const drop = (event) => { event.preventDefault(); out(); searchByPicture(event.dataTransfer.files[0]); };
  const paste = (event) => searchByPicture(event.clipboardData.files[0]);
  for (const [name, call] of Object.entries({ dragover: over, dragleave: out, drop, paste })) document.addEventListener(name, call, { signal });
  signal.addEventListener("abort", out);
}

function all(here, signal) {
  const { q } = here.params;
  const filters = cleanFilters(here.params);
  const offset = number(here.params.offset, 0);
  const load = () => get("items", { offset, limit: PAGE, q, filters }, signal);
  return later(signal, load, (answer) => {
    announce(answer.total, "item");
    if (!answer.total) return nothing(here);
    const cards = answer.items.map((item) => card(item));
    return [
      h("p", { class: "quiet total" }, count(answer.total, "item")),
      grid(cards, answer.items),
      pages(answer.total, offset, PAGE, (to) => link("", null, { ...here.params, offset: to })),
    ];
  }, 12);
}

function nothing(here) {
  if (here.params.q) return [empty("No item has these letters.", "Search by meaning finds items that are alike without sharing a word.")];
  if (cleanFilters(here.params)) return [empty("No item passes these filters.", "Remove one of them.")];
  return [empty("The catalogue is empty.")];
}

function found(here, signal, load) {
  const k = number(here.params.k, PAGE);
  return later(signal, () => load(k), (answer) => {
    announce(answer.items.length, "item");
    if (!answer.items.length) return [empty("Nothing was found.", "Try other words, or remove a filter.")];
    return [listed(answer), more(answer.items.length, k, (next) => link("", null, { ...here.params, k: next }))];
  }, 12);
}

function byMeaning(here, signal) {
  const { q, modality } = here.params;
  const filters = cleanFilters(here.params);
  return found(here, signal, (k) => get("search", { q, k, filters, modality }, signal));
}

function byPicture(here, signal) {
  if (!dropped) return empty("The picture is not kept in the address.", "Choose or drop it again.");
  const address = URL.createObjectURL(dropped);
  const shown = h("img", { src: address, alt: "The picture searched for", class: "asked", on: { load: () => URL.revokeObjectURL(address) } });
  const again = h("a", { href: link(""), class: "page-step" }, "Back to all items");
  const { modality } = here.params;
  const filters = cleanFilters(here.params);
  const results = found(here, signal, (k) => postPicture("search", dropped, { k, filters, modality }, signal));
  return [h("div", { class: "asked-row" }, shown, h("div", {}, h("p", {}, "Items that look like ", h("strong", {}, dropped.name || "the picture")), again)), results];
}

export function itemsView(here, signal) {
  const { q, by } = here.params;
  receive(signal);
  const searching = by === "picture" || (q && by !== "letters");
  const results = by === "picture" ? byPicture(here, signal) : searching ? byMeaning(here, signal) : all(here, signal);
  const title = by === "picture" ? "Search by a picture" : q ? `“${q}”` : "Items";
  const hint = h("p", { class: "quiet drop-hint" }, "Or drop or paste a picture anywhere.");
  const tools = h("div", { class: "tools" }, howChooser(here), searching ? modalityChooser("Compare with", here, signal) : null, filterBar(here, signal), hint);
  return { title, nodes: [searchForm(here), tools, results] };
}
