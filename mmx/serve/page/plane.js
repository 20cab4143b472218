// Where on the canvas a point of the map is: `scale` pixels a unit around the centre (x, y).

const MARGIN = 0.92; // of the canvas that all points fill

/** The view that shows all of `points` ([x, y, …] each) on width × height pixels. */
export function fitted(points, width, height) {
  let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const [x, y] of points) {
    left = Math.min(left, x);
    right = Math.max(right, x);
    low = Math.min(low, y);
    high = Math.max(high, y);
  }
  const scale = MARGIN * Math.min(width / (right - left || 1), height / (high - low || 1));
  return { x: (left + right) / 2, y: (low + high) / 2, scale };
}

export const toScreen = (view, [x, y], width, height) => [(x - view.x) * view.scale + width / 2, (view.y - y) * view.scale + height / 2];

/** Moved by so many pixels. */
export const moved = (view, dx, dy) => ({ ...view, x: view.x - dx / view.scale, y: view.y + dy / view.scale });

/** Larger by `factor`, with the place under (px, py) where it was. */
export function zoomed(view, factor, px, py, width, height) {
  const [dx, dy] = [px - width / 2, py - height / 2];
  const scale = view.scale * factor;
  return { scale, x: view.x + dx / view.scale - dx / scale, y: view.y - dy / view.scale + dy / scale };
}

/** Which of the places ([x, y] or null, in pixels) is nearest to (px, py) within `reach`; -1: none. */
export function nearest(places, px, py, reach) {
  let [found, least] = [-1, reach * reach];
  places.forEach((place, at) => {
    if (!place) return;
    const distance = (place[0] - px) ** 2 + (place[1] - py) ** 2;
    if (distance < least) [found, least] = [at, distance];
  });
  return found;
}

/** Indices of at most `most` places whose squares of `side` do not overlap, the first ones first. */
export function apart(places, side, most) {
  const [cells, kept] = [new Map(), []];
  for (let at = 0; at < places.length && kept.length < most; at += 1) {
    const place = places[at];
    if (!place) continue;
    const [column, line] = [Math.floor(place[0] / side), Math.floor(place[1] / side)];
    if (overlaps(cells, places, place, column, line, side)) continue;
    cells.set(`${column} ${line}`, at);
    kept.push(at);
  }
  return kept;
}

function overlaps(cells, places, place, column, line, side) {
  for (let i = -1; i <= 1; i += 1) {
    for (let j = -1; j <= 1; j += 1) {
      const other = places[cells.get(`${column + i} ${line + j}`)];
      if (other && Math.abs(other[0] - place[0]) < side && Math.abs(other[1] - place[1]) < side) return true;
    }
  }
  return false;
}
