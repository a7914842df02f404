// The most alike in the gallery: like these, unlike those, only where a condition holds.

import { form, json, picture } from "./api.js";
import { at, button, entries, make, put } from "./dom.js";
import { Place } from "./drop.js";
import { Rules } from "./rules.js";
import { showSamples } from "./samples.js";
import { State } from "./state.js";
import { lastPart, number, plural } from "./words.js";

/** Start the view; what it answers is called when the gallery has changed. */
export function startSearch(about) {
  const state = new State(at("search-state"));
  const { gallery } = about;
  const tell = () => (at("search-told").textContent = `${gallery.name} holds ${plural(gallery.count, "picture")}. The closest come first.`);
  tell();
  let urls = [];

  const changed = () => {
    if (!like.files.length) {
      forget();
      state.stop();
      if (unlike.files.length) put(at("search-state"), make("p", { class: "state" }, "Add a picture to look for: something must be like what is found."));
      return;
    }
    state.run("Searching …", ask, show);
  };
  const like = new Place(at("search-places"), { view: "search", title: "Like this", hint: "Drop, paste or choose one or several", several: true, changed });
  const unlike = new Place(at("search-places"), { view: "search", title: "Unlike this", hint: "If you like: what to stay away from", several: true, changed });
  const rules = new Rules(gallery.columns ?? {}, changed);

  async function ask(signal) {
    const alone = like.files.length === 1 && !unlike.files.length;
    const pictures = alone ? { images: like.files } : { like: like.files, unlike: unlike.files };
    const diversity = at("search-diversity").value;
    const body = form({ ...pictures, k: at("search-k").value, where: rules.where, diversity: diversity === "0" ? null : diversity });
    const told = await json("search", { method: "POST", body, signal });
    return told.results[0].hits;
  }

  function forget() {
    for (const url of urls) URL.revokeObjectURL(url);
    urls = [];
    put(at("search-hits"));
    at("search-said").textContent = "";
  }

  function show(hits) {
    forget();
    rules.learn(hits);
    const doubles = hits.filter((hit) => hit.duplicate_of !== null && hit.duplicate_of !== undefined).length;
    at("search-said").textContent = `${plural(hits.length, "picture")} found${doubles ? `, ${plural(doubles, "near-duplicate")} among them` : ""}.`;
    if (!hits.length) {
      put(at("search-state"), make("p", { class: "state" }, rules.where ? "No picture of the gallery meets these conditions." : "The gallery is empty."));
      return;
    }
    put(at("search-hits"), ...hits.map((hit, place) => card(hit, place, hits)));
  }

  function card(hit, place, hits) {
    const first = hits.findIndex((each) => each.row === hit.duplicate_of);
    const name = [...new Set([hit.identity, hit.label])].filter((each) => each !== null && each !== undefined).join(" · ") || `picture ${hit.row}`;
    const image = make("img", { alt: "" });
    thumbnail(hit, image);
    const double = hit.duplicate_of === null || hit.duplicate_of === undefined ? null : make("span", { class: "double" }, first >= 0 ? `near-duplicate of ${first + 1}` : "near-duplicate");
    const open = button("", () => details(hit, name, image.src), { class: "hit", "aria-label": `${place + 1}: ${name}, score ${number(hit.score)}${double ? `, ${double.textContent}` : ""}. Show more` });
    open.append(image, make("span", { class: "line-one" }, make("b", {}, name), make("span", { class: "score" }, number(hit.score))), ...(double ? [double] : []));
    return make("li", { class: double ? "is-double" : null }, open);
  }

  async function thumbnail(hit, image) {
    try {
      const url = URL.createObjectURL(await picture(hit.thumbnail));
      urls.push(url);
      image.src = url;
    } catch {
      image.replaceWith(make("span", { class: "unshown" }, "no picture any more"));
    }
  }

  for (const id of ["search-k", "search-diversity"]) at(id).addEventListener("change", changed);
  showSamples(at("search-samples"), "search");
  return () => {
    tell();
    if (like.files.length) changed();
  };
}

/** All that the gallery knows of a hit. */
function details(hit, name, url) {
  at("hit-title").textContent = name;
  at("hit-image").src = url;
  entries(at("hit-facts"), [
    ["Score", `${number(hit.score, 4)} (distance ${number(hit.distance, 4)})`],
    ["Identity", hit.identity],
    ["Label", hit.label],
    ...Object.entries(hit.columns ?? {}).map(([column, value]) => [column, value === null ? null : String(value)]),
    ["Picture", lastPart(hit.image)],
    ["Row", String(hit.row)],
  ]);
  const box = at("hit");
  at("hit-close").onclick = () => box.close();
  box.onclick = (event) => event.target === box && box.close();
  box.showModal();
}
