// The frame of the page: which view an address means, its title, the focus, and the token.

import { once } from "./api.js";
import { chosen } from "./basket.js";
import { ago, h, say } from "./dom.js";
import { empty } from "./parts.js";
import { link, parsed } from "./routes.js";
import { tokenForm } from "./token.js";
import { basketView } from "./view-basket.js";
import { itemView } from "./view-item.js";
import { itemsView } from "./view-items.js";
import { mapView } from "./view-map.js";
import { runsView } from "./view-runs.js";
import { storeView } from "./view-store.js";
import { userView } from "./view-user.js";
import { usersView } from "./view-users.js";

const VIEWS = { "": itemsView, item: itemView, users: usersView, user: userView, map: mapView, runs: runsView, store: storeView, basket: basketView };
const NAMES = [["", "Items"], ["users", "Users"], ["map", "Map"], ["runs", "Runs"], ["store", "Store"], ["basket", "Basket"]];
const PARENTS = { item: "", user: "users" };

let leaving = new AbortController();
let first = true;
let wanted = null; // where the focus goes when what was drawn is there
let last = null; // the view and id seen before, to tell a new view from the same with other filters

function nav(view) {
  const here = PARENTS[view] ?? view;
  const links = NAMES.map(([name, text]) => {
    const number = name === "basket" && chosen().length ? h("span", { class: "badge" }, ` ${chosen().length}`) : null;
    return h("a", { href: link(name), "aria-current": name === here ? "page" : null }, text, number);
  });
  document.getElementById("views").replaceChildren(...links);
}

function missing() {
  return { title: "No such view", nodes: [empty("This address leads nowhere.", "Choose one of the views above.")] };
}

function show() {
  leaving.abort();
  leaving = new AbortController();
  const here = parsed(location.hash);
  const known = here && Object.hasOwn(VIEWS, here.view);
  const made = known ? VIEWS[here.view](here, leaving.signal) : missing();
  nav(here?.view);
  frame(made, here);
}

function frame({ title, lead = null, nodes }, here) {
  document.title = `${title} · mmx`;
  const heading = h("h1", { tabindex: "-1", id: "title" }, title);
  const main = document.getElementById("main");
  const place = `${here?.view}/${here?.id}`;
  const same = place === last;
  const at = same ? focusedName(main) ?? wanted : null;
  wanted = at;
  main.replaceChildren(h("header", { class: "head" }, heading, lead), ...nodes.flat(Infinity).filter(Boolean));
  if (!same) window.scrollTo(0, 0);
  if (at) requestAnimationFrame(() => { // some come a little later
    (main.querySelector(at) ?? heading).focus({ preventScroll: true });
    wanted = null;
  });
  else if (!first) heading.focus({ preventScroll: true });
  first = false;
  last = place;
}

/** A selector for the control that has the focus, so that it keeps it when its view is drawn again. */
function focusedName(main) {
  const active = document.activeElement;
  if (!active || !main.contains(active)) return null;
  if (active.id) return `#${CSS.escape(active.id)}`;
  return active.dataset.name ? `[data-name="${CSS.escape(active.dataset.name)}"]` : null;
}

function askToken() {
  leaving.abort();
  leaving = new AbortController();
  last = null;
  frame({ title: "Access token", nodes: [tokenForm(() => { say("Token kept for this tab"); served(); show(); })] }, null);
}

async function served() {
  const line = document.getElementById("served");
  try {
    const health = await once("health");
    const age = ago(health.run_made);
    line.textContent = [health.run, age && `trained ${age}`].filter(Boolean).join(" · ");
  } catch {
    line.textContent = ""; // the view itself says why
  }
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address holds the view, not a place in it
  document.getElementById("title")?.focus();
});
window.addEventListener("hashchange", show);
window.addEventListener("token-needed", askToken);
window.addEventListener("basket", () => nav(parsed(location.hash)?.view));
served();
show();
