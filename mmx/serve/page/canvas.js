// The map on a canvas: points in colours, pictures where there is room, and the ways to move it.

import { pictureSource } from "./api.js";
import { apart, fitted, moved, nearest, toScreen, zoomed } from "./plane.js";

const CLOSE = 2.2; // times the whole map; from there on pictures are shown
const MOST_PICTURES = 90;
const STEP = 60; // pixels an arrow key moves
const DEEPEST = 400; // times the whole map

/** Draws `data` on `canvas`; `picked(index, moved)` is called with the item a person chose. */
export class Plane {
  constructor(canvas, data, colours, picked, signal) {
    Object.assign(this, { canvas, data, colours, picked, signal });
    Object.assign(this, { images: new Map(), only: null, chosen: -1, hovered: -1, fingers: new Map(), drawing: 0 });
    new ResizeObserver(() => this.resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw(), { signal });
    this.listen();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || this.signal.aborted) return;
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    Object.assign(this, { width, height, ratio });
    Object.assign(this.canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    const whole = fitted(this.data.points, width, height);
    this.view = this.view ? { ...this.view, scale: (this.view.scale * whole.scale) / this.whole.scale } : whole;
    this.whole = whole;
    this.draw();
  }

  draw() {
    if (!this.drawing) this.drawing = requestAnimationFrame(() => { this.drawing = 0; this.paint(); });
  }

  get zoom() {
    return this.view.scale / this.whole.scale;
  }

  paint() {
    if (!this.view || this.signal.aborted) return;
    const pen = this.canvas.getContext("2d");
    pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    const style = getComputedStyle(this.canvas);
    const [ink, paper] = [style.color, style.backgroundColor];
    this.places = this.data.points.map((point) => this.inside(toScreen(this.view, point, this.width, this.height)));
    const radius = Math.min(8, 3.4 + this.zoom * 0.5);
    this.places.forEach((place, at) => place && this.dot(pen, at, radius));
    if (this.zoom >= CLOSE) this.pictures(pen, paper);
    for (const at of [this.hovered, this.chosen]) if (at >= 0 && this.places[at]) this.ring(pen, this.places[at], ink);
  }

  inside(place) {
    const edge = 60;
    return place[0] > -edge && place[1] > -edge && place[0] < this.width + edge && place[1] < this.height + edge ? place : null;
  }

  faint(at) {
    return this.only !== undefined && this.only !== null && !this.only.has(this.colours.group(this.data.values?.[at] ?? null));
  }

  dot(pen, at, radius) {
    pen.globalAlpha = this.faint(at) ? 0.12 : 0.85;
    pen.fillStyle = this.colours.of(this.data.values?.[at] ?? null);
    pen.beginPath();
    pen.arc(...this.places[at], radius, 0, 2 * Math.PI);
    pen.fill();
    pen.globalAlpha = 1;
  }

  ring(pen, place, ink) {
    pen.strokeStyle = ink;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(...place, 11, 0, 2 * Math.PI);
    pen.stroke();
  }

  pictures(pen, paper) {
    const side = Math.min(112, 36 + 6 * this.zoom);
    const places = this.places.map((place, at) => (this.data.pictures?.[at] === false || this.faint(at) ? null : place));
    for (const at of apart(places, side * 0.9, MOST_PICTURES)) {
      const image = this.image(at);
      if (image) this.tile(pen, image, at, side, paper);
    }
  }

  tile(pen, image, at, side, paper) {
    const [x, y] = this.places[at];
    pen.save();
    pen.beginPath();
    pen.roundRect(x - side / 2, y - side / 2, side, side, 8);
    pen.fillStyle = paper;
    pen.fill();
    pen.clip();
    const grow = Math.max(side / image.width, side / image.height);
    pen.drawImage(image, x - (image.width * grow) / 2, y - (image.height * grow) / 2, image.width * grow, image.height * grow);
    pen.restore();
    pen.strokeStyle = this.colours.of(this.data.values?.[at] ?? null);
    pen.lineWidth = 3;
    pen.stroke();
  }

  image(at) {
    const item = this.data.items[this.data.points[at][2]];
    const kept = this.images.get(item);
    if (kept !== undefined) return kept;
    this.images.set(item, null); // on its way, or there is none
    pictureSource(item, 128).then((source) => {
      const image = new Image();
      image.onload = () => { this.images.set(item, image); this.draw(); };
      image.src = source;
    }, () => {});
    return null;
  }

  move(dx, dy) {
    this.view = moved(this.view, dx, dy);
    this.draw();
  }

  zoomBy(factor, x = this.width / 2, y = this.height / 2) {
    const wanted = Math.min(DEEPEST, Math.max(0.6, this.zoom * factor));
    this.view = zoomed(this.view, wanted / this.zoom, x, y, this.width, this.height);
    this.draw();
  }

  showAll() {
    this.view = this.whole;
    this.draw();
  }

  pick(x, y, reach = 24) {
    this.chosen = nearest(this.places.map((place, at) => (this.faint(at) ? null : place)), x, y, reach);
    this.draw();
    this.picked(this.chosen);
  }

  /** Indices in sight, the nearest to the middle first. */
  inSight(most) {
    const [x, y] = [this.width / 2, this.height / 2];
    const found = [];
    this.places?.forEach((place, at) => {
      if (place && !this.faint(at)) found.push([(place[0] - x) ** 2 + (place[1] - y) ** 2, at]);
    });
    return found.sort((one, two) => one[0] - two[0]).slice(0, most).map(([, at]) => at);
  }

  listen() {
    const on = (name, call, options = {}) => this.canvas.addEventListener(name, call, { signal: this.signal, ...options });
    on("wheel", (event) => { event.preventDefault(); this.zoomBy(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY); }, { passive: false });
    on("pointerdown", (event) => this.down(event));
    on("pointermove", (event) => this.drag(event));
    for (const name of ["pointerup", "pointercancel"]) on(name, (event) => this.up(event));
    on("pointerleave", () => { this.hovered = -1; this.draw(); });
    on("dblclick", (event) => this.zoomBy(2, event.offsetX, event.offsetY));
    on("keydown", (event) => this.key(event));
  }

  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
    this.travelled = this.fingers.size > 1 ? Infinity : 0;
  }

  drag(event) {
    const before = this.fingers.get(event.pointerId);
    const now = [event.offsetX, event.offsetY];
    if (!before) return this.hover(now);
    const other = [...this.fingers].find(([id]) => id !== event.pointerId)?.[1];
    this.fingers.set(event.pointerId, now);
    const half = other ? 0.5 : 1; // each of two fingers moves the map by half
    this.move((now[0] - before[0]) * half, (now[1] - before[1]) * half);
    this.travelled += Math.hypot(now[0] - before[0], now[1] - before[1]);
    if (other) this.pinch(before, now, other);
    return null;
  }

  pinch(before, now, other) {
    const apartBefore = Math.hypot(before[0] - other[0], before[1] - other[1]) || 1;
    const apartNow = Math.hypot(now[0] - other[0], now[1] - other[1]) || 1;
    this.zoomBy(apartNow / apartBefore, (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  }

  up(event) {
    const still = this.fingers.delete(event.pointerId) && this.travelled < 6 && event.type === "pointerup";
    if (still) this.pick(event.offsetX, event.offsetY);
  }

  hover([x, y]) {
    const found = this.places ? nearest(this.places, x, y, 16) : -1;
    if (found !== this.hovered) { this.hovered = found; this.draw(); }
  }

  key(event) {
    const moves = { ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] };
    const calls = { "+": () => this.zoomBy(1.5), "=": () => this.zoomBy(1.5), "-": () => this.zoomBy(1 / 1.5), 0: () => this.showAll(), Enter: () => this.pick(this.width / 2, this.height / 2, Infinity) };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (moves[event.key]) this.move(...moves[event.key]);
    else if (calls[event.key]) calls[event.key]();
    else return;
    event.preventDefault();
  }
}
