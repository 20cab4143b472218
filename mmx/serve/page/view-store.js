// What became of the items in the store: encoded, missing, failed and why, texts cut short.

import { get } from "./api.js";
import { modalityName } from "./cards.js";
import { count, h, shown, whole } from "./dom.js";
import { later } from "./parts.js";
import { link } from "./routes.js";

function examples(found) {
  if (!found.examples?.length) return h("span", { class: "quiet" }, "–");
  const links = found.examples.map((id) => h("a", { href: link("item", id) }, id));
  const rest = found.rows - links.length;
  return h("span", { class: "ids" }, links, rest > 0 ? h("span", { class: "quiet" }, `and ${whole(rest)} more`) : null);
}

const row = (what, found) =>
  h("tr", {}, h("th", { scope: "row" }, what), h("td", { class: "number" }, whole(found.rows)), h("td", {}, examples(found)));

function table(caption, rows) {
  const head = h("tr", {}, h("th", { scope: "col" }, "What"), h("th", { scope: "col", class: "number" }, "Items"), h("th", { scope: "col" }, "Examples"));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, h("table", {}, h("caption", { class: "unseen" }, caption), h("thead", {}, head), h("tbody", {}, rows)));
}

function bar(parts, total) {
  const box = h("div", { class: "bar", "aria-hidden": "true" });
  for (const [name, rows] of parts) {
    if (!rows) continue;
    const part = h("span", { class: `part ${name}` });
    part.style.setProperty("--share", String(rows / total));
    box.append(part);
  }
  return box;
}

function condition(name, { ok, missing, failed }, total) {
  const reasons = Object.entries(failed);
  const failures = reasons.reduce((sum, [, found]) => sum + found.rows, 0);
  const rows = [...(missing.rows ? [row("missing in the catalogue", missing)] : []), ...reasons.map(([reason, found]) => row(reason, found))];
  const share = total ? `${((100 * ok) / total).toFixed(ok === total ? 0 : 1)} %` : "–";
  const said = [`${whole(ok)} encoded`, missing.rows && `${whole(missing.rows)} missing`, failures && `${whole(failures)} failed`].filter(Boolean).join(", ");
  return h(
    "section",
    { class: "condition" },
    h("h2", {}, modalityName(name)),
    h("p", { class: "big" }, share, h("span", {}, said)),
    bar([["ok", ok], ["missing", missing.rows], ["failed", failures]], total || 1),
    rows.length ? table(`Without a vector: ${modalityName(name)}`, rows) : h("p", { class: "quiet" }, "Every item has a vector."),
  );
}

function truncated(found) {
  if (!found) return null;
  const title = h("h2", {}, "texts cut short");
  if (!found.rows) return h("section", { class: "condition" }, title, h("p", { class: "quiet" }, "No text was longer than the encoder reads."));
  const text = `${count(found.rows, "text")} longer than the encoder reads; the rest of each was not encoded.`;
  return h("section", { class: "condition" }, title, h("p", {}, text), table("Texts cut short", [row("cut short", found)]));
}

function facts(store) {
  const rest = Object.entries(store).filter(([name, value]) => !["rows", "modalities", "truncated"].includes(name) && typeof value !== "object");
  return rest.length ? h("dl", { class: "columns" }, rest.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, shown(value))))) : null;
}

export function storeView(here, signal) {
  const load = () => get("store", {}, signal);
  const body = later(signal, load, (store) => [
    h("p", { class: "quiet total" }, count(store.rows, "item")),
    facts(store),
    h("div", { class: "conditions" }, Object.entries(store.modalities).map(([name, each]) => condition(name, each, store.rows)), truncated(store.truncated)),
  ], 3);
  return { title: "Store", nodes: [body] };
}
