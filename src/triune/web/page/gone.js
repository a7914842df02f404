// A server that does not answer: said on top of the page until it does again.

import { at } from "./dom.js";

const EVERY_MS = 2000;
let watching = null;
const back = new Set();

/** Call something when the server answers again after it did not. */
export const whenBack = (does) => back.add(does);

/** It did not answer: say so, and look again and again. */
export function gone() {
  if (watching) return;
  at("gone").textContent = "The server does not answer. This page goes on by itself as soon as it does.";
  at("gone").hidden = false;
  watching = setInterval(look, EVERY_MS);
}

/** It answered. */
export function answered() {
  if (!watching) return;
  clearInterval(watching);
  watching = null;
  at("gone").hidden = true;
  at("gone").textContent = "";
  for (const does of back) does();
}

async function look() {
  try {
    if ((await fetch(new URL("health", document.baseURI), { cache: "no-store" })).ok) answered();
  } catch {
    // still gone
  }
}
