// Runs side by side: their metrics in one table, and the lists they give to one user.

import { get, path } from "./api.js";
import { card, grid } from "./cards.js";
import { ago, h, say, short, shown } from "./dom.js";
import { changed, chooser, empty, fault, later, section } from "./parts.js";
import { go, link } from "./routes.js";

const FEW = 12;

function best(values) {
  const numbers = values.filter((each) => typeof each === "number");
  return numbers.length > 1 && new Set(numbers).size > 1 ? Math.max(...numbers) : null;
}

const RANKED = /^(recall|ndcg|hit|map|mrr|precision|auc)/i; // of these more is better; of others nobody knows

function metricRow(name, runs) {
  const values = runs.map((run) => run.metrics?.[name]);
  const top = RANKED.test(name) ? best(values) : null;
  const cells = values.map((value) => h("td", { class: `number ${value === top && top !== null ? "best" : ""}` }, typeof value === "number" ? value.toFixed(4) : shown(value)));
  return h("tr", {}, h("th", { scope: "row" }, name), cells);
}

function factRow(name, values) {
  return h("tr", { class: "fact" }, h("th", { scope: "row" }, name), values.map((value) => h("td", { class: "number" }, value)));
}

function features(run) {
  if (Array.isArray(run.features)) return run.features.map(shown).join(", ") || "none";
  return run.features ? shown(run.features) : "none";
}

const cutOf = (name) => /@(\d+)/.exec(name)?.[1] ?? null; // recall@20: of the first 20 of a list

function metricTable(here, runs) {
  const all = [...new Set(runs.flatMap((run) => Object.keys(run.metrics ?? {})))];
  const cuts = [...new Set(all.map(cutOf))].filter(Boolean).sort((one, two) => one - two);
  const cut = [here.params.at, "20", cuts.at(-1)].find((each) => cuts.includes(each));
  const names = all.filter((name) => [null, cut].includes(cutOf(name)));
  const choice = cuts.length > 1 ? chooser("Length of list", cuts.map((each) => [each, each]), cut, (at) => changed(here)({ at })) : null;
  const head = h("tr", {}, h("th", { scope: "col" }, "Metric"), runs.map((run) => h("th", { scope: "col", class: "number" }, run.name)));
  const facts = [
    factRow("model", runs.map((run) => run.model)),
    factRow("features", runs.map(features)),
    factRow("trained", runs.map((run) => ago(run.created) || shown(run.created))),
    factRow("seconds", runs.map((run) => (typeof run.seconds === "number" ? short(run.seconds) : "–"))),
  ];
  const table = h("table", {}, h("caption", { class: "unseen" }, "Metrics of each run"), h("thead", {}, head), h("tbody", {}, facts, names.map((name) => metricRow(name, runs))));
  const note = names.length ? h("p", { class: "quiet" }, "Bold: the largest of its row. Whether a difference is more than chance: mmx report.") : null;
  return [h("div", { class: "tools" }, choice), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Metrics" }, table), note];
}

function one(name, answer, other) {
  const places = new Map(other.items.map((each) => [each.item.item_id, each.rank]));
  const cards = answer.items.map((each) => {
    const there = places.get(each.item.item_id);
    const mark = h("p", { class: there ? "split both" : "split" }, there ? `both, there at ${there}` : "only here");
    return card(each.item, { rank: each.rank, score: each.score, mark });
  });
  return h("div", { class: "side" }, h("h3", {}, name), answer.note ? h("p", { class: "note" }, answer.note) : null, grid(cards, answer.items.map((each) => each.item), "pair"));
}

function beside(user, a, b, signal) {
  const ask = (run) => get(path("recommend", user), { k: FEW, run }, signal);
  return later(signal, () => Promise.all([ask(a), ask(b)]), ([left, right]) => {
    const there = new Set(right.items.map((each) => each.item.item_id));
    const both = left.items.filter((each) => there.has(each.item.item_id)).length;
    const text = `${both} of ${left.items.length} items are in both lists.`;
    say(text);
    return [h("p", { class: "quiet total" }, text), h("div", { class: "sides" }, one(a, left, right), one(b, right, left))];
  }, 4);
}

function compare(here, runs, signal) {
  if (runs.length < 2) return empty("One run is served.", "mmx serve RUN OTHER shows two beside each other.");
  const { user = "", a = runs[0].name, b = runs[1].name } = here.params;
  const field = h("input", { type: "search", id: "compare-user", value: user, required: true, autocomplete: "off", placeholder: "a user's id" });
  const options = runs.map((run) => [run.name, run.name]);
  const chosen = { a, b };
  const left = chooser("Run", options, a, (value) => { chosen.a = value; });
  const right = chooser("Beside", options, b, (value) => { chosen.b = value; });
  const submit = (event) => {
    event.preventDefault();
    go(link("runs", null, { user: field.value.trim(), ...chosen }));
  };
  const form = h("form", { class: "tools", on: { submit } }, h("label", { class: "field" }, h("span", {}, "User"), field), left, right, h("button", { type: "submit", class: "main-button" }, "Compare"));
  const unknown = [a, b].find((name) => !runs.some((run) => run.name === name));
  if (unknown) return [form, fault({ status: 404, message: `No run named ${unknown} is served.` })];
  return [form, user ? beside(user, a, b, signal) : anyone(signal)];
}

function anyone(signal) {
  return later(signal, () => get("users", { limit: 6 }, signal), (answer) => {
    if (!answer.users.length) return [];
    return [h("p", { class: "instances" }, "For instance ", answer.users.map((user, at) => [at ? ", " : "", h("a", { href: link("runs", null, { user }) }, user)]))];
  }, 0);
}

export function runsView(here, signal) {
  const body = later(signal, () => get("runs", {}, signal), (runs) => [
    metricTable(here, runs),
    section("One user, two runs", compare(here, runs, signal)),
  ], 2);
  return { title: "Runs", nodes: [body] };
}
