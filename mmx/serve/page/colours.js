// Colours of the map by the values of a column: a few names, or a ramp over numbers.

const NAMES = ["#3f6fd8", "#e8963a", "#2f9e63", "#d64f5b", "#8b62d9", "#1ba3b8", "#d46bb0", "#9c7a4d", "#7f9c1f", "#5b7c99", "#c4552d", "#4f8f86"];
const RAMP = [[68, 58, 131], [49, 104, 142], [33, 145, 140], [94, 201, 98], [234, 196, 55]];
const OTHER = "#9a9a94";

function along(share) {
  const place = Math.min(0.9999, Math.max(0, share)) * (RAMP.length - 1);
  const [at, rest] = [Math.floor(place), place % 1];
  const mixed = RAMP[at].map((low, part) => Math.round(low + (RAMP[at + 1][part] - low) * rest));
  return `rgb(${mixed.join(" ")})`;
}

function byName(values) {
  const counts = new Map();
  for (const value of values) if (value !== null) counts.set(value, (counts.get(value) ?? 0) + 1);
  const names = [...counts].sort((one, two) => two[1] - one[1] || String(one[0]).localeCompare(String(two[0])));
  const colours = new Map(names.slice(0, NAMES.length).map(([name], at) => [name, NAMES[at]]));
  const keys = [...colours].map(([value, colour]) => ({ value, text: String(value), colour }));
  const others = values.some((value) => !colours.has(value));
  if (others) keys.push({ value: null, text: counts.size > NAMES.length ? "others" : "no value", colour: OTHER });
  const of = (value) => colours.get(value) ?? OTHER;
  return { of, keys, group: (value) => (colours.has(value) ? value : null) };
}

function byNumber(values) {
  const sorted = values.filter((value) => typeof value === "number").sort((one, two) => one - two);
  const cuts = [0.2, 0.4, 0.6, 0.8].map((share) => sorted[Math.floor(share * (sorted.length - 1))]);
  const step = (value) => cuts.filter((cut) => value > cut).length;
  const ends = [sorted[0], ...cuts, sorted.at(-1)];
  const keys = RAMP.map((_, at) => ({ value: at, text: `${ends[at]} – ${ends[at + 1]}`, colour: along(at / (RAMP.length - 1)) }));
  if (sorted.length < values.length) keys.push({ value: null, text: "no value", colour: OTHER });
  const group = (value) => (typeof value === "number" ? step(value) : null);
  return { of: (value) => (typeof value === "number" ? along(step(value) / (RAMP.length - 1)) : OTHER), keys, group };
}

/** {of(value) → colour, group(value) → the key's value, keys: [{value, text, colour}]}; null values mean one colour. */
export function coloured(values) {
  if (!values) return { of: () => NAMES[0], group: () => 0, keys: [] };
  const numbers = values.filter((value) => typeof value === "number");
  const many = new Set(numbers).size > NAMES.length;
  return numbers.length && many ? byNumber(values) : byName(values);
}
