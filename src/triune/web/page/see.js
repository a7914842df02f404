// What the model sees: how likely each class is, and the mask over the picture.

import { form, json } from "./api.js";
import { at, make, put } from "./dom.js";
import { Place } from "./drop.js";
import { layOver } from "./mask.js";
import { showSamples } from "./samples.js";
import { State } from "./state.js";
import { listed, percent, plural } from "./words.js";

const MOST_BARS = 5;

/** Start the view. */
export function startSee(about) {
  const state = new State(at("see-state"));
  const classes = about.classes?.length ?? about.classes ?? 0;
  const does = [classes ? `which of ${plural(classes, "class", "classes")} it shows` : null, about.masks ? "where in the picture it is" : null].filter(Boolean);
  at("see-told").textContent = `One picture: ${listed(does)}.`;

  const blank = () => {
    for (const id of ["see-laid", "see-class", "see-masked", "see-care", "see-again"]) at(id).hidden = true;
    at("see-places").hidden = false;
    at("see-said").textContent = "";
  };
  const changed = () => {
    blank();
    if (!place.files.length) return state.stop();
    state.run("Looking …", ask, show);
  };
  const place = new Place(at("see-places"), { view: "see", title: "A picture", changed });

  async function ask(signal) {
    const body = form({ images: place.files, masks: about.masks ? "true" : null });
    return (await json("predict", { method: "POST", body, signal })).predictions[0];
  }

  async function show(found) {
    // Sorted anew: JavaScript puts keys that read like numbers, such as the classes of digits, in an order of its own.
    const likely = Object.entries(found.probabilities ?? found.top ?? {}).toSorted(([, a], [, b]) => b - a).slice(0, MOST_BARS);
    const [best] = likely;
    put(at("see-care"), make("h3", {}, "Careful"), make("p", {}, "This picture looks like nothing the model was checked on: what it says of it says little."));
    at("see-care").hidden = !found.unfamiliar;
    if (best) {
      at("see-label").textContent = best[0];
      put(at("see-bars"), ...likely.map(([name, share], rank) => bar(name, share, rank)));
      at("see-class").hidden = false;
    }
    if (found.mask) {
      const names = await layOver(at("see-image"), at("see-mask"), place.urls[0], found.mask, about.mask_names);
      at("see-image").alt = found.name;
      at("see-share").textContent = `The mask covers ${percent(found.mask_share)} of the picture.`;
      put(at("see-legend"), ...names.map(({ name, colour }) => {
        const swatch = make("i", { "aria-hidden": "true" });
        swatch.style.background = colour;
        return make("li", {}, swatch, name);
      }));
      at("see-mask").setAttribute("aria-label", at("see-share").textContent);
      at("see-laid").hidden = at("see-masked").hidden = at("see-again").hidden = false;
      at("see-places").hidden = true;
      opacity();
    }
    at("see-said").textContent = [best ? `Most likely ${best[0]}, ${percent(best[1])}.` : "", found.mask ? at("see-share").textContent : ""].join(" ");
  }

  const opacity = () => (at("see-mask").style.opacity = Number(at("see-opacity").value) / 100);
  at("see-opacity").addEventListener("input", () => {
    opacity();
    at("see-opacity").setAttribute("aria-valuetext", `${at("see-opacity").value}%`);
  });
  at("see-again").addEventListener("click", () => {
    place.clear();
    at("see-places").querySelector("input").focus();
  });
  showSamples(at("see-samples"), "see");
}

function bar(name, share, rank) {
  const fill = make("i");
  fill.style.width = `${100 * share}%`;
  return make("li", { class: rank ? "s2" : "s0" }, make("span", { class: "who" }, name), make("span", { class: "bar" }, fill), make("span", { class: "value" }, percent(share)));
}
