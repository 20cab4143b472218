// Addresses of views: `#/user/ID?run=NAME`. What is seen is in the address, so a link can be shared.

/** The address of a view: its name, an id or null, and what else it needs. */
export function link(view, id = null, params = {}) {
  const pairs = Object.entries(params).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(pairs).toString();
  const place = id === null ? `#/${view}` : `#/${view}/${encodeURIComponent(id)}`;
  return query ? `${place}?${query}` : place;
}

/** {view, id, params} of an address, or null where it is none. */
export function parsed(hash) {
  const [place, ...rest] = hash.replace(/^#\/?/, "").split("?");
  const [view, ...parts] = place.split("/");
  try {
    const id = parts.length ? decodeURIComponent(parts.join("/")) : null;
    return { view, id, params: Object.fromEntries(new URLSearchParams(rest.join("?"))) };
  } catch {
    return null;
  }
}

/** Go to a view; the same one once more is loaded again. */
export function go(address) {
  if (location.hash === address) window.dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = address;
}

/** The filters of an address: a list of {column, op, value}, empty where there are none. */
export function filtersOf(params) {
  try {
    const read = JSON.parse(params.filters ?? "[]");
    return Array.isArray(read) ? read.filter((each) => each && each.column && each.op) : [];
  } catch {
    return [];
  }
}

/** The filters of an address as text, without what is none. */
export const cleanFilters = (params) => filtersText(filtersOf(params));

/** Filters as an address or a question carries them; "" for none. */
export const filtersText = (filters) => (filters.length ? JSON.stringify(filters) : "");

export const number = (text, otherwise) => {
  const read = Number.parseFloat(text);
  return Number.isFinite(read) && read >= 0 ? read : otherwise;
};
