// Two hills of distances, of pairs that match and of others, with the threshold and the pair at hand, as SVG.

import { draw, make, put } from "./dom.js";
import { METRICS, number, percent } from "./words.js";

const TOP = 34;
const BOTTOM = 46;
const LEFT = 8;
const RIGHT = 8;

const total = (counts) => counts.reduce((sum, each) => sum + each, 0) || 1;

/** The share of a histogram below a value, taking its pairs as spread evenly within a bin. */
export function shareBelow(edges, counts, value) {
  let below = 0;
  for (const [bin, count] of counts.entries()) {
    const width = edges[bin + 1] - edges[bin];
    below += count * Math.min(1, Math.max(0, width > 0 ? (value - edges[bin]) / width : Number(value > edges[bin])));
  }
  return below / total(counts);
}

/** About five round values from low to high. */
export function roundTicks(low, high, about = 5) {
  const raw = (high - low) / about;
  if (!(raw > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((each) => each * power >= raw * 0.999);
  const ticks = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + 1e-9 * step; at++) ticks.push(Number((at * step).toPrecision(12)));
  return ticks;
}

/** The axis from no distance on, as far as it holds nearly all pairs, the pair at hand and the threshold. */
function range(pairs, marks) {
  const edges = pairs.edges;
  const held = (place) => pairs.matching[place] / total(pairs.matching) + pairs.others[place] / total(pairs.others) > 2e-4;
  const bins = pairs.matching.map((_, place) => place).filter(held);
  const low = Math.min(0, edges[0]);
  const high = Math.max(edges[(bins.at(-1) ?? edges.length - 2) + 1], ...marks);
  return [low, high];
}

/** The chart in its figure; `show(distance, threshold)` draws it, again whenever the figure's width changes.
 *
 * `picked(distance)` is called where somebody points at a threshold: a slider says the same to those who cannot point.
 */
export class Hills {
  #figure;
  #pairs;
  #svg = null;
  #shown = null;

  #axis = { low: 0, high: 1, width: 1 };

  constructor(figure, pairs, picked) {
    this.#figure = figure;
    this.#pairs = pairs;
    const sample = (kind) => draw("svg", { viewBox: "0 0 28 10", "aria-hidden": "true" }, draw("rect", { class: `area ${kind}`, x: 1, y: 0, width: 26, height: 10 }), draw("line", { class: `line ${kind}`, x1: 1, x2: 27, y1: 1, y2: 1 }));
    const legend = make("ul", { class: "legend" }, make("li", {}, sample("s0"), "pairs of the same thing"), make("li", {}, sample("s1"), "pairs of different things"));
    this.#svg = draw("svg", { class: "chart", role: "img" });
    put(figure, this.#svg, legend);
    const pick = (event) => {
      if (!event.buttons) return;
      const place = this.#svg.getBoundingClientRect();
      const share = ((event.clientX - place.left) * (this.#axis.width / place.width) - LEFT) / (this.#axis.width - LEFT - RIGHT);
      picked(this.#axis.low + Math.min(1, Math.max(0, share)) * (this.#axis.high - this.#axis.low));
    };
    for (const kind of ["pointerdown", "pointermove"]) this.#svg.addEventListener(kind, pick);
    new ResizeObserver(() => this.#shown && this.show(...this.#shown)).observe(figure);
  }

  show(distance, threshold) {
    this.#shown = [distance, threshold];
    const width = Math.max(260, this.#figure.clientWidth);
    const height = Math.round(Math.min(270, Math.max(220, width * 0.56)));
    const foot = height - BOTTOM;
    const { edges, matching, others, metric } = this.#pairs;
    const finite = [distance, threshold].filter(Number.isFinite);
    const [low, high] = range(this.#pairs, finite);
    this.#axis = { low, high, width };
    const x = (value) => LEFT + Math.min(1, Math.max(0, (value - low) / (high - low || 1))) * (width - LEFT - RIGHT);
    const most = Math.max(...[matching, others].map((counts) => Math.max(...counts) / total(counts)));
    const y = (share) => foot - (share / most) * (foot - TOP);

    const hill = (counts, kind) => {
      const sum = total(counts);
      const points = counts.flatMap((each, bin) => (edges[bin + 1] < low || edges[bin] > high ? [] : [[x(edges[bin]), y(each / sum)], [x(edges[bin + 1]), y(each / sum)]]));
      const line = points.map((point) => point.map((value) => value.toFixed(1)).join(",")).join(" ");
      const ends = `${(points[0]?.[0] ?? LEFT).toFixed(1)},${foot} ${line} ${(points.at(-1)?.[0] ?? LEFT).toFixed(1)},${foot}`;
      return [draw("polygon", { class: `area ${kind}`, points: ends }), draw("polyline", { class: `line ${kind}`, points: line })];
    };
    const upright = (value, kind, from) => draw("line", { class: kind, x1: x(value), x2: x(value), y1: from, y2: foot });
    const label = (value, text, line, kind) => {
      const room = x(value) < width - 12 - 7.2 * text.length;
      return draw("text", { class: kind, x: x(value) + (room ? 8 : -8), y: line, "text-anchor": room ? "start" : "end" }, text);
    };
    const ticks = roundTicks(low, high, width < 420 ? 5 : 8).flatMap((tick) => [
      draw("line", { class: "notch", x1: x(tick), x2: x(tick), y1: foot, y2: foot + 5 }),
      draw("text", { class: "tick", x: x(tick), y: foot + 19, "text-anchor": x(tick) < 20 ? "start" : x(tick) > width - 20 ? "end" : "middle" }, String(tick).replace("-", "−")),
    ]);
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.#svg.setAttribute("aria-label", this.#told(distance, threshold));
    const accepted = threshold === Infinity ? width - RIGHT : x(threshold);
    put(
      this.#svg,
      draw("rect", { class: "accepted", x: LEFT, y: TOP - 8, width: Math.max(0, accepted - LEFT), height: foot - TOP + 8 }),
      ...hill(others, "s1"),
      ...hill(matching, "s0"),
      draw("line", { class: "base", x1: LEFT, x2: width - RIGHT, y1: foot, y2: foot }),
      ...ticks,
      draw("text", { class: "axis", x: width - RIGHT, y: height - 6, "text-anchor": "end" }, `${METRICS[metric] ?? "distance"} →`),
      ...(Number.isFinite(threshold) ? [upright(threshold, "threshold", TOP - 8), label(threshold, "threshold", TOP + 3, "axis strong")] : []),
      upright(distance, "own", 20),
      draw("circle", { class: "point", cx: x(distance), cy: foot, r: 6 }),
      label(distance, "these two", 15, "note"),
    );
  }

  #told(distance, threshold) {
    const { edges, matching, others } = this.#pairs;
    return (
      `Distances of pairs. These two are ${number(distance, 4)} apart; the threshold is ${number(threshold, 4)}. ` +
      `${percent(shareBelow(edges, matching, distance))} of the pairs of the same thing and ` +
      `${percent(shareBelow(edges, others, distance))} of the pairs of different things are closer.`
    );
  }
}
