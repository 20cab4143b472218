"""Every control of the page, and the test that tries it: one that is not here fails."""

from __future__ import annotations

SELECTOR = "a, button, input, select, summary, [tabindex]"

# How a control is named: by its id, its class, its label, or the place it is in.
KEY_OF = """(element) => {
  const tag = element.tagName.toLowerCase();
  if (element.id) return `${tag}#${element.id}`;
  const name = element.classList[0];
  if (name && name !== 'main-button') return `${tag}.${name}`;
  const label = element.closest('label')?.querySelector('span')?.firstChild?.textContent.trim();
  if (label) return `${tag} ${label}`;
  if (tag === 'button') return `${tag} ${element.ariaLabel || element.textContent.trim()}`;
  const home = element.parentElement.closest('[id], [class]');
  return `${home.id ? '#' + home.id : '.' + home.classList[0]} ${tag}`;
}"""

VIEWS = [
    "#/",
    "#/?q=red%20cup",
    "#/?q=red&by=letters",
    "#/?by=picture",
    '#/?filters=[{"column":"price","op":"<","value":30}]',
    "#/item/sku-0003",
    "#/users",
    "#/user/user-000",
    "#/map",
    "#/runs",
    "#/runs?user=user-000",
    "#/store",
    "#/basket",
    "#/user/nobody",
    "#/nowhere",
]

TRIED = {  # the control: the test
    "a#skip": "test_keyboard_alone",
    "a.brand": "test_the_views_are_linked",
    "#views a": "test_the_views_are_linked",
    "h1#title": "test_keyboard_alone",
    "input#q": "test_search_by_words",
    "button Search": "test_search_by_words",
    "select Search by": "test_search_by_letters",
    "select Compare with": "test_search_by_words",
    "input#picture": "test_search_by_a_picture",
    "a.card-link": "test_an_item",
    "a.page-step": "test_pages_of_a_list",
    ".filters summary": "test_filters",
    "select Column": "test_filters",
    "select Condition": "test_filters",
    "input Value": "test_filters",
    "button Add filter": "test_filters",
    "button.chip": "test_filters",
    "button#basket-button": "test_the_basket",
    "button.small": "test_the_basket",
    "button Empty the basket": "test_the_basket",
    "select At most": "test_the_basket",
    "select Alike in": "test_an_item",
    ".reason a": "test_a_user",
    "input#user-q": "test_users",
    "button Find": "test_users",
    ".users a": "test_users",
    "select Run": "test_a_user",
    "input#diversity": "test_a_user",
    "canvas#map": "test_the_map_by_keys",
    "button Zoom in": "test_the_map_by_mouse",
    "button Zoom out": "test_the_map_by_mouse",
    "button Show everything": "test_the_map_by_mouse",
    "button.key": "test_colours_of_the_map",
    "select Colour by": "test_colours_of_the_map",
    "button List the 8 nearest to the middle": "test_the_map_by_keys",
    "div.scroll": "test_runs_side_by_side",
    "select Length of list": "test_runs_side_by_side",
    "select Beside": "test_runs_side_by_side",
    "input#compare-user": "test_runs_side_by_side",
    "button Compare": "test_runs_side_by_side",
    ".instances a": "test_runs_side_by_side",
    ".ids a": "test_the_store",
    "button.again": "test_no_answer",
    "input#token": "test_a_token_is_asked_for",
    "button Open": "test_a_token_is_asked_for",
}
