// Pictures at hand where the service was started with some: one click takes one.

import { button, make, put } from "./dom.js";
import { json, picture } from "./api.js";
import { give } from "./drop.js";

const SHOWN = 12;
let known = null;

/** All sample pictures; none where there are none. */
async function samples() {
  known ??= json("samples").then((told) => told.images.map((each) => ({ ...each, file: null })), () => []);
  return known;
}

/** A sample as a file, as if somebody had chosen it. */
async function fileOf(sample) {
  sample.file ??= picture(sample.url).then((blob) => {
    const kind = blob.type === "image/png" ? "png" : "jpg";
    return new File([blob], `sample ${sample.url.split("/").at(-1)}${sample.label ? ` ${sample.label}` : ""}.${kind}`, { type: blob.type });
  });
  return sample.file;
}

/** A strip of samples that go to a view; with `pairs`, buttons that take two at once. */
export async function showSamples(strip, view, { pairs = null } = {}) {
  const all = await samples();
  if (!all.length) return;
  const shown = await Promise.all(spreadOut(all, SHOWN).map(async (sample) => {
    const file = await fileOf(sample).catch(() => null);
    if (!file) return null;
    const url = URL.createObjectURL(file);
    const name = sample.label ?? sample.identity ?? "sample";
    const item = button("", () => give([file], view), { class: "sample", "aria-label": `Take this sample: ${name}`, title: name });
    item.append(make("img", { src: url, alt: "" }));
    return make("li", {}, item);
  }));
  const take = async (same) => {
    const two = drawn(all, same);
    if (two) await Promise.all(two.map(fileOf)).then(pairs, () => {});
  };
  const buttons = pairs ? [button("Two of the same", () => take(true), { class: "quiet" }), button("Two that differ", () => take(false), { class: "quiet" })] : [];
  put(strip, make("p", { class: "label" }, "Or take a sample"), make("ul", {}, ...shown), make("p", { class: "line" }, ...buttons));
  strip.hidden = false;
}

/** So many of them, from first to last. */
const spreadOut = (all, many) => (all.length <= many ? all : Array.from({ length: many }, (_, place) => all[Math.floor((place * all.length) / many)]));

/** Two samples of one identity, or of two; null where there are none. */
function drawn(all, same) {
  const who = (each) => each.identity ?? each.label;
  const first = all.filter((each) => who(each) !== null && all.some((other) => other !== each && (who(other) === who(each)) === same));
  if (!first.length) return null;
  const one = first[Math.floor(Math.random() * first.length)];
  const rest = all.filter((other) => other !== one && (who(other) === who(one)) === same);
  return [one, rest[Math.floor(Math.random() * rest.length)]];
}
