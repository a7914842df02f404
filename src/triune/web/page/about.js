// What answers here: the model, its figures with their intervals, what it can do, and how programs ask.

import { address } from "./api.js";
import { at, button, entries, make, put } from "./dom.js";
import { METRICS, bytes, count, number, percent, plural, roundPercent } from "./words.js";

const FIGURES = {
  tpr_at_fpr: ["TPR", percent, "of pairs of the same thing are recognised"],
  auc: ["AUC", number, "a same pair is closer than a different one this often"],
  eer: ["EER", percent, "error where both kinds of mistake are equally frequent"],
  recall_at_1: ["Recall@1", percent, "the most similar picture is a right one"],
  iou: ["Mask IoU", number, "overlap of predicted and true masks"],
  accuracy: ["Class accuracy", percent, "pictures put in the right class"],
};

const ABILITIES = [
  ["verify", "compare", "Compare two pictures", "this model has no threshold: triune train fits one"],
  ["search", "search", "Search a gallery", "no gallery is open: triune serve RUN --gallery G opens one"],
  ["identify", "who", "Say who it is, or that nobody knows", "the gallery says of no picture who is on it, or none is open"],
  ["enrol", "who", "Enrol somebody under a name", "no gallery is open, or it is read only"],
  ["predict", "see", "Name the class, show the mask", "this model has neither a class head nor a mask head"],
];

/** A figure as /about tells it: a number, or a number with its interval. */
const figure = (told) => (typeof told === "number" ? { value: told } : told);

/** Start the view. */
export function startAbout(about) {
  const { figures = {}, gallery } = about;
  at("about-told").textContent = `${about.name}, a ${about.backbone} that maps a picture to ${plural(about.dim, "number")}; pictures are as far apart as their numbers.${about.demo ? " This is a demonstration." : ""}`;
  const known = Object.entries(FIGURES).filter(([name]) => typeof figure(figures[name] ?? {})?.value === "number");
  put(at("about-figures"), ...known.map(([name, shown]) => card(name, shown, figures)));
  at("about-figures").hidden = !known.length;
  at("about-figures-told").textContent = known.length
    ? `Measured on the ${figures.split ?? "test"} pictures of its report, which it was not trained on.${typeof figures.level === "number" ? ` Small figures are ${roundPercent(figures.level)} intervals.` : ""}`
    : "No figures are known of it.";
  const classes = Array.isArray(about.classes) ? about.classes.join(", ") : null;
  entries(at("about-model"), [
    ["Run", about.name],
    ["Backbone", about.backbone],
    ["Distance", METRICS[about.metric] ?? about.metric],
    ["Classes", classes],
    ["Masks", about.masks ? (named(about.mask_names) ?? "yes") : "none"],
    ["Gallery", gallery ? `${gallery.name}: ${plural(gallery.count, "picture")}${gallery.identities ? `, ${plural(gallery.identities, "identity", "identities")}` : ""}` : "none"],
    ["Limits", limits(about.limits)],
    ["Fingerprint", about.fingerprint],
    ["Triune", about.version],
  ]);
  put(at("about-can"), ...ABILITIES.map(([ability, view, what, why]) => {
    const can = about.can.includes(ability);
    return make("li", { class: can ? "yes" : "no" }, can ? make("a", { href: `#${view}` }, what) : make("span", {}, what, make("small", {}, `not here: ${why}`)));
  }));
  put(at("about-docs"), "Every route is described in ", make("a", { href: address("openapi.json").href }, "openapi.json"), ".");
  put(at("about-curl"), ...curlLines(about).map(snippet));
}

function card(name, [title, write, meaning], figures) {
  const { value, low, high } = figure(figures[name]);
  const at = name === "tpr_at_fpr" && typeof figures.target_fpr === "number" ? ` at FPR ${roundPercent(figures.target_fpr)}` : "";
  const interval = typeof low === "number" && typeof high === "number" ? make("small", {}, ` ${write(low)} to ${write(high)}`) : null;
  return make("div", {}, make("dt", {}, title + at), make("dd", {}, write(value), interval), make("dd", { class: "means" }, meaning));
}

const named = (names) => (Array.isArray(names) ? names.filter(Boolean).join(", ") : names && Object.values(names).join(", "));

function limits(told) {
  const parts = [
    told?.image_bytes ? `${bytes(told.image_bytes)} a picture` : null,
    told?.pixels ? `${count(told.pixels)} pixels a picture` : null,
    told?.images ? `${plural(told.images, "picture")} a request` : null,
    told?.bytes ? `${bytes(told.bytes)} a request` : null,
  ].filter(Boolean);
  return parts.length ? `at most ${parts.join(", ")}` : null;
}

/** A curl line for each thing that it can do. */
export function curlLines({ can }) {
  const url = (path) => address(path).href;
  const lines = {
    verify: ["Same or different?", `curl -F first=@a.jpg -F second=@b.jpg ${url("verify")}`],
    search: ["The most alike", `curl -F images=@query.jpg -F k=10 ${url("search")}`],
    identify: ["Who is it?", `curl -F images=@who.jpg -F fpir=0.01 ${url("identify")}`],
    enrol: ["Enrol", `curl -F images=@a.jpg -F images=@b.jpg -F identity="my cup" ${url("enrol")}`],
    predict: ["Class and mask", `curl -F images=@a.jpg -F masks=true ${url("predict")}`],
  };
  return [...Object.keys(lines).filter((each) => can.includes(each)).map((each) => lines[each]), ["The embedding itself", `curl -F images=@a.jpg ${url("embed")}`]];
}

function snippet([title, line]) {
  const copied = make("span", { class: "unseen", role: "status" });
  const copy = button("Copy", async () => {
    try {
      await navigator.clipboard.writeText(line);
      copied.textContent = "Copied";
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "Select and copy";
    }
    setTimeout(() => (copy.textContent = "Copy"), 2000);
  }, { class: "quiet", "aria-label": `Copy: ${title}` });
  return make("div", { class: "snippet" }, make("p", { class: "label" }, title, copy, copied), make("pre", { tabindex: "0", class: "scrolls" }, line));
}
