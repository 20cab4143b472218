// The map of the embedding space: like items are near each other. Zoomed in, it shows pictures.

import { get, once, path } from "./api.js";
import { Plane } from "./canvas.js";
import { card, grid } from "./cards.js";
import { coloured } from "./colours.js";
import { h, say, whole } from "./dom.js";
import { changed, chooser, empty, fault, later, madeFrom } from "./parts.js";

const MOST = 5000;
const NEAR = 8; // items listed below the map
const HELP = "Map of the items. Arrow keys move it, plus and minus zoom, zero shows everything, Enter picks the item nearest to the middle.";

function columnChooser(here, signal) {
  return madeFrom("columns", signal, (columns) => {
    const options = [["", "one colour"], ...columns.map(({ column }) => [column, column])];
    const choose = (column) => changed(here)({ column: column || "none" });
    return columns.length ? chooser("Colour by", options, here.params.column ?? "", choose) : null;
  });
}

/** The column the map is coloured by: the address's, else the first with a few words. */
async function column(here) {
  if (here.params.column) return here.params.column === "none" ? null : here.params.column;
  const columns = await once("columns");
  const few = columns.filter(({ type, values }) => type === "text" && values?.length > 1 && values.length <= 12);
  const first = (few.find(({ column: name }) => name === "category") ?? few[0])?.column ?? null;
  here.params.column = first ?? "none";
  return first;
}

function legend(colours, plane) {
  const chosen = new Set();
  const buttons = colours.keys.map(({ value, text, colour }) => {
    const dot = h("span", { class: "dot", "aria-hidden": "true" });
    dot.style.setProperty("--colour", colour);
    const button = h("button", { type: "button", class: "key", "aria-pressed": "false" }, dot, text);
    button.addEventListener("click", () => {
      if (!chosen.delete(value)) chosen.add(value);
      button.setAttribute("aria-pressed", String(chosen.has(value)));
      plane.only = chosen.size ? chosen : null;
      plane.draw();
    });
    return h("li", {}, button);
  });
  return buttons.length ? h("ul", { class: "legend", "aria-label": "Colours; press one to see only it" }, buttons) : null;
}

function buttons(plane) {
  const button = (text, label, call) => h("button", { type: "button", "aria-label": label, on: { click: call } }, text);
  return h("div", { class: "map-buttons" }, button("+", "Zoom in", () => plane.zoomBy(1.6)), button("−", "Zoom out", () => plane.zoomBy(1 / 1.6)), button("⤢", "Show everything", () => plane.showAll()));
}

async function showItems(box, ids, signal) {
  try {
    const items = await Promise.all(ids.map((id) => get(path("items", id), {}, signal)));
    if (signal.aborted) return;
    box.replaceChildren(grid(items.map((item) => card(item)), items, "strip"));
    say(`${items.length === 1 ? items[0].title || items[0].item_id : `${items.length} items`} below the map`);
  } catch (error) {
    if (!signal.aborted) box.replaceChildren(fault(error));
  }
}

function drawn(data, signal) {
  if (!data.points.length) return [empty("Nothing to draw.", "No item has a vector.")];
  const canvas = h("canvas", { class: "map", id: "map", tabindex: "0", role: "application", "aria-label": HELP });
  const box = h("div", { class: "below", id: "below" });
  const idOf = (at) => data.items[data.points[at][2]];
  const colours = coloured(data.values);
  const plane = new Plane(canvas, data, colours, (at) => at >= 0 && showItems(box, [idOf(at)], signal), signal);
  const near = h("button", { type: "button", on: { click: () => showItems(box, plane.inSight(NEAR).map(idOf), signal) } }, `List the ${NEAR} nearest to the middle`);
  const text = data.shown < data.total ? `A sample of ${whole(data.shown)} of ${whole(data.total)} items.` : `${whole(data.total)} items.`;
  return [
    legend(colours, plane),
    h("div", { class: "map-frame" }, canvas, buttons(plane)),
    h("p", { class: "quiet" }, text, " Near each other: alike. Zoom in for pictures, choose one to see it."),
    h("p", {}, near),
    box,
  ];
}

export function mapView(here, signal) {
  const tools = h("div", { class: "tools" });
  const load = async () => {
    const by = await column(here).catch(() => null);
    tools.replaceChildren(columnChooser(here, signal));
    return get("map", { column: by, limit: MOST }, signal);
  };
  return { title: "Map", nodes: [tools, later(signal, load, (data) => drawn(data, signal), 1)] };
}
