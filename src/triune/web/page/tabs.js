// The views as tabs: arrow keys, Home and End go through them, and the address names the one that is open.

import { at } from "./dom.js";

const TITLE = document.title;

/** Make the tabs work; those of `hidden` are taken away. `opened(name)` is called for the one that is shown. */
export function startTabs(hidden, title, opened) {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  for (const tab of tabs) tab.hidden = hidden.has(nameOf(tab));
  const there = tabs.filter((tab) => !tab.hidden);

  function show(name, { focus = false } = {}) {
    const chosen = there.find((tab) => nameOf(tab) === name) ?? there[0];
    for (const tab of tabs) {
      const on = tab === chosen;
      tab.setAttribute("aria-selected", on);
      tab.tabIndex = on ? 0 : -1;
      at(nameOf(tab)).hidden = !on;
    }
    document.title = `${chosen.textContent} · ${title} · ${TITLE}`;
    if (focus) chosen.focus();
    opened(nameOf(chosen));
  }

  const go = (tab) => {
    if (location.hash !== `#${nameOf(tab)}`) history.pushState(null, "", `#${nameOf(tab)}`);
    show(nameOf(tab), { focus: true });
    scrollTo(0, 0);
  };
  for (const [place, tab] of there.entries()) {
    tab.addEventListener("click", () => go(tab));
    tab.addEventListener("keydown", (event) => {
      const to = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: there.length - 1 }[event.key];
      if (to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      go(there.at(to % there.length));
    });
  }
  addEventListener("popstate", () => show(location.hash.slice(1)));
  show(location.hash.slice(1));
}

const nameOf = (tab) => tab.getAttribute("aria-controls");

/** The view that is open. */
export const openView = () => document.querySelector("[role=tabpanel]:not([hidden])")?.id;
