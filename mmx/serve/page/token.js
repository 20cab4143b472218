// The form for the token of `mmx serve --token`.

import { forgetKnown, get, token } from "./api.js";
import { h } from "./dom.js";

/** Asks for a token, tries it, keeps it for this tab and calls `done`. */
export function tokenForm(done) {
  const field = h("input", { type: "password", id: "token", name: "token", autocomplete: "off", required: true, "aria-describedby": "token-wrong" });
  const wrong = h("p", { class: "wrong", id: "token-wrong", role: "alert" }, token.get() ? "The token was not accepted." : "");
  token.forget();
  const submit = async (event) => {
    event.preventDefault();
    token.set(field.value.trim());
    forgetKnown();
    try {
      await get("health");
      done();
    } catch (error) {
      token.forget();
      wrong.textContent = error.status === 401 ? "The token was not accepted." : error.message;
      field.focus();
    }
  };
  return h(
    "form",
    { class: "token", on: { submit } },
    h("p", {}, "This server answers only with the token it was started with (mmx serve --token)."),
    h("label", { class: "field", for: "token" }, h("span", {}, "Token")),
    h("div", { class: "row" }, field, h("button", { type: "submit", class: "main-button" }, "Open")),
    wrong,
  );
}
