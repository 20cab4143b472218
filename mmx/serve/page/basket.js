// The items a visitor without a history has chosen; kept for this tab.

const KEY = "mmx-basket";
export const MOST = 100;

export function chosen() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept.map(String) : [];
  } catch {
    return [];
  }
}

function keep(ids) {
  sessionStorage.setItem(KEY, JSON.stringify(ids.slice(-MOST)));
  window.dispatchEvent(new CustomEvent("basket"));
}

export const add = (id) => keep([...chosen().filter((each) => each !== id), id]);
export const remove = (id) => keep(chosen().filter((each) => each !== id));
export const clear = () => keep([]);
