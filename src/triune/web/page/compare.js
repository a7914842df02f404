// Same or different: two pictures, the verdict in words, and what a false-positive rate costs.

import { form, json } from "./api.js";
import { Hills, shareBelow } from "./chart.js";
import { at, make, put } from "./dom.js";
import { Place } from "./drop.js";
import { showSamples } from "./samples.js";
import { State } from "./state.js";
import { METRICS, about as roughly, capital, inHundred, number, percent, plural, roundPercent, soMany } from "./words.js";

/** What a false-positive rate costs, in sentences. `level` is one of /pairs, or a verdict's own threshold. */
export function costs({ fpr, validation_fpr, tpr = null, expected = null, confidence = null, exact = true }) {
  const told = [`Of pairs of different things, about ${soMany(validation_fpr)} would pass as the same.`];
  if (tpr !== null) told.push(`Of pairs of the same thing, ${inHundred(tpr)} are recognised.`);
  const few = expected ? plural(expected.identities, "thing") : null;
  if (confidence !== null) {
    told.push(`Promised with ${roundPercent(confidence)} confidence: among new things, at most ${roundPercent(fpr)} pass.`);
  } else if (expected && (expected.low > 0 || expected.high < 1)) {
    told.push(
      `Among new things it may be ${percent(expected.low)} to ${percent(expected.high)} (${roundPercent(expected.level)} interval, from ${few}); nothing is promised.`,
    );
  } else if (expected) {
    told.push(`Nothing can be said of new things: the rate was set on ${few} only.`);
  } else if (exact) {
    told.push(`Among new things the rate may be higher: nothing is promised.`);
  }
  return told;
}

/** How common a distance is among pairs of either kind. */
export function evidence(pairs, distance) {
  const closer = shareBelow(pairs.edges, pairs.others, distance);
  const farther = 1 - shareBelow(pairs.edges, pairs.matching, distance);
  return `Of pairs of different things, ${soMany(closer)} are this close or closer. Of pairs of the same thing, ${soMany(farther)} are this far apart or farther.`;
}

/** What is said where a picture is unlike all that the run was validated on. */
export function unlike(verdict) {
  const which = ["first", "second"].filter((side) => verdict.unfamiliar.includes(verdict[side]));
  if (!which.length) return null;
  const subject = which.length === 2 ? "Both pictures look" : `The ${which[0]} picture looks`;
  return `${subject} like nothing this model was checked on. It was never tested on such pictures, so the verdict says little, whatever the distance.`;
}

/** A level's rate: one that was asked for in training as it is, one between to two digits. */
const rateOf = (level) => (level.exact ? roundPercent(level.fpr) : roughly(level.fpr));

/** From which of the levels on a distance counts as the same. */
function turning(levels, distance) {
  const first = levels.find((level) => distance <= level.distance);
  return first ? `It counts as the same from a rate of ${rateOf(first)} on.` : "It counts as different at every rate on this scale.";
}

/** Start the view. */
export function startCompare() {
  const state = new State(at("compare-state"));
  let pairs = null;
  let hills = null;
  let verdict = null;
  let asked = false;

  const changed = () => {
    const files = places.flatMap((place) => place.files);
    verdict = null;
    at("compare-answer").hidden = true;
    at("compare-places").classList.toggle("answered", files.length === 2); // smaller, so that the verdict stands beside them
    at("compare-said").textContent = "";
    if (files.length < 2) return state.stop();
    state.run("Comparing …", ask, show);
  };
  const places = ["First picture", "Second picture"].map((title) => new Place(at("compare-places"), { view: "compare", title, changed }));

  async function ask(signal) {
    const [first, second] = places.map((place) => place.files[0]);
    const body = form({ first, second });
    if (!asked) pairs = await json("pairs", { signal }).catch(noPairs);
    asked = true;
    return json("verify", { method: "POST", body, signal });
  }

  function show(found) {
    verdict = found;
    at("compare-answer").hidden = false;
    if (pairs && !hills) {
      hills = new Hills(at("compare-chart"), pairs, picked);
      Object.assign(at("compare-level"), { max: pairs.levels.length - 1, value: pairs.own });
      at("compare-own").textContent = `Back to the run's own rate, ${roundPercent(pairs.levels[pairs.own].fpr)}`;
    }
    at("compare-rate").hidden = false;
    at("compare-rate").classList.toggle("fixed", !pairs);
    judge();
    at("compare-verdict").scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  }

  /** The verdict at the slider's rate; at the run's own it is the server's. */
  function judge() {
    const place = Number(at("compare-level").value);
    const own = !pairs || place === pairs.own;
    const level = own ? { ...pairs?.levels[pairs.own], ...ownLevel(verdict) } : pairs.levels[place];
    const same = own ? verdict.same : verdict.distance <= level.distance;
    const word = same ? "the same" : "different things";
    at("compare-word").textContent = word;
    at("compare-label").textContent = unlike(verdict) ? "Going by the distance alone, these two show" : "These two show";
    at("compare-word").classList.toggle("other", !same);
    at("compare-word").classList.toggle("doubtful", unlike(verdict) !== null);
    at("compare-distance").textContent = reach(verdict, level.distance);
    put(at("compare-evidence"), pairs ? `${evidence(pairs, verdict.distance)} ${turning(pairs.levels, verdict.distance)}` : null);
    hills?.show(verdict.distance, level.distance);
    const rate = `${own ? roundPercent(level.fpr) : rateOf(level)}${own ? ", the run's own" : ""}`;
    at("compare-chosen").textContent = `${rate}: ${same ? "the same" : "different"}`;
    put(at("compare-costs"), ...costs(level).map((each) => make("li", {}, each)));
    at("compare-level").setAttribute("aria-valuetext", `${rate}: ${word}. ${costs(level)[0]}`);
    at("compare-own").hidden = own;
    care(own ? verdict.caution : null);
    const said = `At a rate of ${rate} these two show ${word}. ${at("compare-distance").textContent} ${unlike(verdict) ?? ""}`;
    if (at("compare-said").textContent !== said) at("compare-said").textContent = said;
  }

  /** The slider goes to the most lenient rate whose threshold is not beyond a distance. */
  function picked(distance) {
    at("compare-level").value = Math.max(0, pairs.levels.findLastIndex((level) => level.distance <= distance));
    judge();
  }

  function care(caution) {
    const told = [unlike(verdict), caution ? `The rate is not to be leaned on: ${caution}.` : null].filter(Boolean);
    put(at("compare-care"), make("h3", {}, "Careful"), ...told.map((each) => make("p", {}, each)));
    at("compare-care").hidden = !told.length;
  }

  at("compare-level").addEventListener("input", () => verdict && judge());
  at("compare-own").addEventListener("click", () => {
    at("compare-level").value = pairs.own;
    judge();
    at("compare-level").focus();
  });
  showSamples(at("compare-samples"), "compare", {
    pairs: (files) => {
      places[0].add([files[0]], { quietly: true });
      places[1].add([files[1]]);
    },
  });
}

const ownLevel = (verdict) => ({ fpr: verdict.target_fpr, distance: verdict.threshold, validation_fpr: verdict.validation_fpr, expected: verdict.expected, confidence: verdict.confidence });

/** The distance beside what is still the same. */
function reach(verdict, limit) {
  const apart = `${capital(METRICS[verdict.metric] ?? "distance")} ${number(verdict.distance, 4)}`;
  if (limit === Infinity) return `${apart}; every distance counts as the same.`;
  return Number.isFinite(limit) && limit >= 0 ? `${apart}; up to ${number(limit, 4)} counts as the same.` : `${apart}; no distance counts as the same.`;
}

function noPairs(error) {
  if (error.status === 404) return null; // this run keeps no pairs: the verdict stands alone
  throw error;
}
