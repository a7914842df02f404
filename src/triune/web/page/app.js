// The page: asks the server what it can do, and starts the views that it has an answer for.

import { startAbout } from "./about.js";
import { json, keepTo } from "./api.js";
import { startCompare } from "./compare.js";
import { at } from "./dom.js";
import { startPasting } from "./drop.js";
import { whenBack } from "./gone.js";
import { startSearch } from "./search.js";
import { startSee } from "./see.js";
import { State } from "./state.js";
import { startTabs } from "./tabs.js";
import { startWho } from "./who.js";
import { lastPart, plural } from "./words.js";

/** Begin anew where another model has come to this address: what stands here would be said of the wrong one. */
function startAfresh(told) {
  const served = (each) => JSON.stringify([each.fingerprint, each.name, each.can]);
  async function look() {
    try {
      if (served(await json("about")) !== served(told)) location.reload();
    } catch {
      // gone, or it wants a token: whoever asks next is told
    }
  }
  whenBack(look);
  document.addEventListener("visibilitychange", () => document.hidden || look());
}

function start(told) {
  const about = { ...told, name: lastPart(told.name), gallery: told.gallery && { ...told.gallery, name: lastPart(told.gallery.name) } };
  keepTo(about.limits);
  const can = (ability) => about.can.includes(ability);
  const hidden = new Set();
  let searchAgain = null;
  at("name").textContent = about.name;
  const facts = () => (at("facts").textContent = [about.backbone, about.gallery && `${plural(about.gallery.count, "picture")} in the gallery`, about.demo && "a demonstration"].filter(Boolean).join(" · "));
  facts();
  at("footer").textContent = `Triune ${about.version}. Pictures go to this server alone, and are not kept unless you enrol them.`;

  function galleryChanged(count) {
    about.gallery.count = count;
    facts();
    searchAgain?.();
  }

  if (can("verify")) startCompare();
  else hidden.add("compare");
  if (can("search")) searchAgain = startSearch(about);
  else hidden.add("search");
  if (can("identify") || can("enrol")) startWho(about, galleryChanged);
  else hidden.add("who");
  if (can("predict")) startSee(about);
  else hidden.add("see");
  startAbout(about);
  startPasting();
  startTabs(hidden, about.name, () => {});
  startAfresh(told);
  document.body.dataset.ready = "";
}

new State(at("starting")).run("Asking the server what it can do …", () => json("about"), start);
