// The users of the run, in pages, found by a part of their id.

import { get } from "./api.js";
import { count, h } from "./dom.js";
import { announce, empty, later, pages } from "./parts.js";
import { go, link, number } from "./routes.js";

const PAGE = 60;

function finder(here) {
  const field = h("input", { type: "search", id: "user-q", value: here.params.q ?? "", autocomplete: "off", "aria-label": "Find users by a part of their id", placeholder: "part of an id" });
  const submit = (event) => {
    event.preventDefault();
    go(link("users", null, { q: field.value.trim() }));
  };
  return h("form", { class: "search", role: "search", on: { submit } }, h("div", { class: "search-box" }, field, h("button", { type: "submit", class: "main-button" }, "Find")));
}

export function usersView(here, signal) {
  const { q } = here.params;
  const offset = number(here.params.offset, 0);
  const load = () => get("users", { offset, limit: PAGE, q }, signal);
  const list = later(signal, load, (answer) => {
    announce(answer.total, "user");
    if (!answer.total) return [empty(q ? "No user has this in their id." : "The run knows no users.", "A newcomer can be tried with the basket.")];
    const links = answer.users.map((user) => h("li", {}, h("a", { href: link("user", user) }, user)));
    return [
      h("p", { class: "quiet total" }, count(answer.total, "user")),
      h("ul", { class: "users" }, links),
      pages(answer.total, offset, PAGE, (to) => link("users", null, { ...here.params, offset: to })),
    ];
  }, 3);
  return { title: "Users", nodes: [finder(here), list] };
}
