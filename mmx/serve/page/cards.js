// Items as cards: a picture or a drawn stand-in, the title, a score and the reason.

import { pictureSource, token } from "./api.js";
import { h, s, short, shown } from "./dom.js";
import { changed, chooser, madeFrom } from "./parts.js";
import { link } from "./routes.js";

const TINTS = 6; // of drawn stand-ins; see .drawn in page.css

export const titled = (item) => item.title || item.item_id;

function tint(text) {
  let sum = 0;
  for (const letter of text) sum = (sum * 31 + letter.codePointAt(0)) % 9973;
  return sum % TINTS;
}

/** What is shown for an item without a picture: its title on a tinted tile. */
export function drawn(item) {
  const frame = s("svg", { viewBox: "0 0 24 24", class: "drawn-sign", "aria-hidden": "true" });
  frame.append(s("path", { d: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15 9h.01" }));
  return h("span", { class: `drawn tint-${tint(item.item_id)}` }, frame, h("span", { class: "drawn-title", "aria-hidden": "true" }, titled(item)));
}

async function load(image, item, side, box) {
  try {
    image.src = await pictureSource(item.item_id, side);
  } catch {
    box.replaceChildren(drawn(item));
  }
}

function whenSeen(image, call) {
  const watcher = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    watcher.disconnect();
    call();
  }, { rootMargin: "300px" });
  watcher.observe(image);
}

/** The picture of an item, `side` pixels at most; `alt` is empty where its title is beside it. */
export function picture(item, side, alt = "") {
  const box = h("span", { class: "picture" });
  if (!item.picture) {
    box.append(drawn(item));
    return box;
  }
  const image = h("img", { alt, width: side, height: side, loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.getAttribute("src") && box.replaceChildren(drawn(item)));
  if (token.get()) {
    image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
    whenSeen(box, () => load(image, item, side, box));
  } else {
    load(image, item, side, box);
  }
  box.append(image);
  return box;
}

function facts(item) {
  const few = Object.entries(item.columns ?? {}).filter(([, value]) => {
    const text = shown(value);
    return text !== "–" && typeof value !== "boolean" && text.length <= 18 && text !== item.title;
  });
  return few.slice(0, 2).map(([, value]) => shown(value)).join(" · ");
}

const MODALITIES = { image: "picture", text: "text", fused: "picture and text", multimodal: "picture and text" };
export const modalityName = (modality) => MODALITIES[modality] ?? modality;

/** Which of the store's vectors are compared; null where there is no choice. */
export function modalityChooser(label, here, signal) {
  return madeFrom("store", signal, (store) => {
    const names = Object.keys(store.modalities ?? {});
    const options = [["", "whichever fits"], ...names.map((each) => [each, modalityName(each)])];
    const choose = (modality) => changed(here)({ modality });
    return names.length > 1 ? chooser(label, options, here.params.modality ?? "", choose) : null;
  });
}

function because(reason) {
  if (!reason) return null;
  const to = h("a", { href: link("item", reason.item_id) }, reason.title || reason.item_id);
  const how = `${modalityName(reason.modality)} ${short(reason.similarity)}`;
  return h("p", { class: "reason" }, "Like ", to, h("span", { class: "quiet" }, ` ${how}`));
}

/** One item as a list element; `extra` (nodes) goes below. */
export function card(item, { rank = null, score = null, reason = null, mark = null, extra = [] } = {}) {
  const number = rank === null ? null : h("span", { class: "rank" }, String(rank));
  const points = score === null ? null : h("span", { class: "score" }, short(score));
  const small = facts(item);
  return h(
    "li",
    { class: "card" },
    h("a", { class: "card-link", href: link("item", item.item_id) }, picture(item, 384), h("span", { class: "card-title" }, titled(item))),
    h("p", { class: "meta" }, number, small ? h("span", { class: "facts" }, small) : null, points),
    because(reason),
    mark,
    extra,
  );
}

/** Cards in a grid; without any picture they are a compact list of words. */
export function grid(cards, items, classes = "") {
  const plain = items.length > 0 && items.every((item) => !item.picture);
  return h("ul", { class: `grid ${plain ? "plain" : ""} ${classes}` }, cards);
}

/** A Listed answer of the server. */
export function listed(answer, mark = () => null) {
  const cards = answer.items.map((each) => card(each.item, { ...each, mark: mark(each) }));
  const note = answer.note ? h("p", { class: "note" }, answer.note) : null;
  return [note, grid(cards, answer.items.map((each) => each.item))];
}
