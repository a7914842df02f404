// Who is it: an identity or unknown, in words; enrol with a name; undo.

import { form, json } from "./api.js";
import { at, button, make, put } from "./dom.js";
import { Place } from "./drop.js";
import { showSamples } from "./samples.js";
import { State } from "./state.js";
import { capital, count, number, percent, plural, roundPercent } from "./words.js";

const RATES = [0.1, 0.05, 0.01, 0.001];
const USUAL = 0.01;

/** The rule of an identification, in sentences. */
export function ruleLines(rule) {
  const told = [
    `${capital(plural(rule.enrolled_identities, "identity", "identities"))} enrolled by ${plural(rule.enrolled_images, "picture")}; named from a score of ${number(rule.threshold, 4)} on.`,
  ];
  for (const each of rule.strangers) {
    told.push(
      `Of ${count(each.identities)} ${each.who} (${plural(each.images, "picture")}), ${percent(each.fpir)} would be named; of others of their kind, ${percent(each.low)} to ${percent(each.high)} (${roundPercent(each.level)} interval).`,
    );
  }
  if (rule.promised_fpir !== null) told.push(`Promised: of strangers like those kept for calibration, at most ${percent(rule.promised_fpir)} are named, in the mean over such sets.`);
  else if (rule.no_promise) told.push(`Nothing is promised: ${rule.no_promise}.`);
  return told;
}

/** Start the view; `galleryChanged(count)` is called when somebody was enrolled or taken back. */
export function startWho(about, galleryChanged) {
  const state = new State(at("who-state"));
  const enrolling = new State(at("who-enrol-state"));
  let canAsk = about.can.includes("identify");
  const canEnrol = about.can.includes("enrol");
  at("who-told").textContent = `Give one or several pictures. Each is named after the closest of those enrolled in ${about.gallery.name}, or nobody: a stranger stays unknown.`;
  put(at("who-fpir"), ...RATES.map((rate) => make("option", { value: rate, selected: rate === USUAL }, `${roundPercent(rate)}: ${rate * 100 >= 1 ? `${Number((rate * 100).toPrecision(3))} of 100` : "1 of 1,000"}`)));

  const clear = () => {
    put(at("who-answers"));
    at("who-said").textContent = "";
    at("who-care").hidden = true;
    at("who-rule").hidden = true;
  };
  const changed = () => {
    clear();
    at("who-enrol").hidden = !canEnrol || !place.files.length;
    enrolling.calm();
    if (!place.files.length) return state.stop();
    if (canAsk) state.run("Looking who it is …", ask, show);
    else put(at("who-state"), make("p", { class: "state" }, "Nobody is enrolled yet: give these pictures a name."));
  };
  const place = new Place(at("who-places"), { view: "who", title: "Pictures of somebody or something", hint: "Drop, paste or choose one or several", several: true, changed });

  async function ask(signal) {
    const body = form({ images: place.files, fpir: at("who-fpir").value });
    return json("identify", { method: "POST", body, signal });
  }

  function show({ identifications, rule }) {
    put(at("who-answers"), ...identifications.map((each, number) => answer(each, place.urls[number], rule)));
    at("who-said").textContent = identifications.map((each) => `${each.query}: ${each.identity ?? "unknown"}.`).join(" ");
    put(at("who-care"), make("h3", {}, "Careful"), rule.caution ? make("p", {}, `The rate is not to be leaned on: ${rule.caution}.`) : null);
    at("who-care").hidden = !rule.caution;
    put(at("who-lines"), ...ruleLines(rule).map((each) => make("li", {}, each)));
    at("who-rule").hidden = false;
  }

  /** One picture's answer: who, how sure, and who comes next. */
  function answer(each, url, rule) {
    const [best, second] = each.candidates;
    const known = each.identity !== null;
    const low = Math.min(0, rule.threshold, ...each.candidates.map((one) => one.score));
    const high = Math.max(rule.threshold, ...each.candidates.map((one) => one.score), rule.metric === "cosine" ? 1 : -Infinity);
    const bar = (one, kind) => {
      const fill = make("i");
      fill.style.width = `${(100 * (one.score - low)) / (high - low || 1)}%`;
      const mark = make("s");
      mark.style.left = `${(100 * (rule.threshold - low)) / (high - low || 1)}%`;
      return make("li", { class: kind }, make("span", { class: "who" }, one.identity), make("span", { class: "bar marked" }, fill, Number.isFinite(rule.threshold) ? mark : null), make("span", { class: "value" }, number(one.score)));
    };
    const sure = known
      ? `Scores ${number(best.score)}; from ${number(rule.threshold)} on somebody is named.`
      : `The closest is ${best.identity}, with ${number(best.score)}: too little, ${Number.isFinite(rule.threshold) ? `${number(rule.threshold)} is needed` : "at this rate nobody is named"}.`;
    return make(
      "li",
      {},
      make("img", { src: url, alt: each.query }),
      make(
        "div",
        {},
        make("p", { class: known ? "big middling" : "big middling other" }, known ? each.identity : "unknown"),
        make("p", { class: "sure" }, sure),
        make("ul", { class: "bars", "aria-label": "Best and runner-up" }, bar(best, "s0"), second ? bar(second, "s2") : null),
      ),
    );
  }

  async function enrol(event) {
    event.preventDefault();
    const identity = at("who-name").value.trim();
    if (!identity || !place.files.length) return;
    const body = form({ images: place.files, identity, key: newKey() }); // a second try does not enrol twice
    await enrolling.run(
      "Enrolling …",
      (signal) => json("enrol", { method: "POST", body, signal }),
      async (done) => {
        at("who-name").value = "";
        await list();
        canAsk = true;
        galleryChanged(done.count);
        changed();
        put(at("who-enrol-state"), make("p", { class: "state done", role: "status" }, `Enrolled ${done.identity} by ${plural(done.images.length, "picture")}. `, button("Undo", () => undo(done), { class: "quiet" })));
      },
    );
  }

  function undo({ enrolment, identity }) {
    return enrolling.run(
      "Taking it back …",
      (signal) =>
        json(`enrol/${encodeURIComponent(enrolment)}`, { method: "DELETE", signal }).catch((error) => {
          if (error.status !== 404) throw error;
          return null; // taken back elsewhere since the list was read: in another tab, say
        }),
      async (done) => {
        await list();
        if (done) galleryChanged(done.count);
        changed();
        const how = done ? `is taken back: ${plural(done.removed, "picture")} left the gallery` : "was taken back already";
        put(at("who-enrol-state"), make("p", { class: "state done", role: "status" }, `${identity} ${how}.`));
      },
    );
  }

  /** Who was enrolled here, the newest first, each with a way back. */
  async function list() {
    const { enrolments } = await json("enrol");
    at("who-listed").hidden = !enrolments.length;
    put(
      at("who-list"),
      ...enrolments.map((each) => make("li", {}, make("b", {}, each.identity), make("span", {}, `${plural(each.images, "picture")}${each.time ? `, ${when(each.time)}` : ""}`), button("Undo", () => undo(each), { class: "quiet", "aria-label": `Undo: ${each.identity}` }))),
    );
  }

  at("who-fpir").addEventListener("change", () => place.files.length && canAsk && changed());
  at("who-enrol").addEventListener("submit", enrol);
  if (canEnrol) list().catch(() => {});
  showSamples(at("who-samples"), "who");
}

/** 128 random bits as the service takes a key. */
const newKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((each) => each.toString(16).padStart(2, "0")).join("");

/** An ISO time as people here write it; as it is where it is none. */
function when(time) {
  const date = new Date(typeof time === "number" ? 1000 * time : time);
  return Number.isNaN(date.getTime()) ? String(time) : date.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}
