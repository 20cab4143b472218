// Questions to the server that this page came from. Paths are relative, so that a proxy may serve
// everything below a folder. A token is kept for this tab only.

const KEY = "mmx-token";
const known = new Map(); // answers that stay the same while the page is open

/** What the server refused, in its own words. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

/** `recommend/a%2Fb` of ("recommend", "a/b"): one part of a path each. */
export const path = (...parts) => parts.map(encodeURIComponent).join("/");

function headers() {
  return token.get() ? { Authorization: `Bearer ${token.get()}` } : {};
}

async function refusal(answer) {
  let detail = `The server answered ${answer.status}.`;
  try {
    const said = (await answer.json()).detail;
    if (typeof said === "string") detail = said;
    else if (Array.isArray(said) && said.length) detail = said.map((each) => each.msg).join("; ");
  } catch {
    // not JSON: the status has to do
  }
  return new Refused(answer.status, detail);
}

async function send(address, options) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server does not answer. Is mmx serve still running?");
  }
  if (!answer.ok) throw await refusal(answer);
  return answer;
}

function query(params) {
  const pairs = Object.entries(params).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(pairs).toString();
  return text && `?${text}`;
}

/** GET an address of the API as JSON. */
export async function get(address, params = {}, signal = undefined) {
  return (await send(address + query(params), { headers: headers(), signal })).json();
}

/** GET what does not change between two views; asked for once. */
export function once(address) {
  if (!known.has(address)) {
    const asked = get(address);
    asked.catch(() => known.delete(address));
    known.set(address, asked);
  }
  return known.get(address);
}

/** Forget what `once` knows, as after a token was given. */
export const forgetKnown = () => known.clear();

/** POST a JSON body. */
export async function post(address, body, signal) {
  const options = { method: "POST", body: JSON.stringify(body), signal };
  options.headers = { ...headers(), "Content-Type": "application/json" };
  return (await send(address, options)).json();
}

/** POST a picture as a form. */
export async function postPicture(address, file, params, signal) {
  const body = new FormData();
  body.append("picture", file);
  return (await send(address + query(params), { method: "POST", body, headers: headers(), signal })).json();
}

const address = (item, side) => `${path("pictures", item)}?side=${side}`;

/** An address for an `img`: the server's own, or with a token a blob, for an img sends no header. */
export async function pictureSource(item, side) {
  if (!token.get()) return address(item, side);
  const answer = await send(address(item, side), { headers: headers() });
  return URL.createObjectURL(await answer.blob());
}
