// The server's answers: with the token where one is asked for, its refusals in its own words, its absence told.

import { gone, answered } from "./gone.js";
import { bytes } from "./words.js";
import * as token from "./token.js";

const TRIES = 4;
const LONGEST_WAIT_MS = 5000;

/** The server, or this page on its behalf, says no; the message is one line. */
export class Refused extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

/** The server does not answer at all. */
export class Gone extends Refused {}

/** What the server allows, as /about tells it. */
let limits = {};
export const keepTo = (told) => (limits = told ?? {});

/** An address of this server: it may lie below a prefix, behind a proxy. */
export const address = (path) => new URL(path.replace(/^\//, ""), document.baseURI);

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

/** A form of files and other fields; fields that are null or empty are left out, lists give one field each. */
export function form(fields) {
  const made = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each === null || each === undefined || each === "") continue;
      if (each instanceof Blob) made.append(name, each, each.name);
      else made.append(name, String(each));
    }
  }
  return made;
}

function checked(body) {
  const files = body ? [...body.values()].filter((each) => each instanceof Blob) : [];
  const most = limits.image_bytes ?? limits.bytes ?? Infinity;
  const large = files.find((each) => each.size > most);
  if (large) throw new Refused(`${large.name} has ${bytes(large.size)}; pictures of up to ${bytes(most)} are taken here`, 413);
  if (files.length > (limits.images ?? Infinity)) throw new Refused(`${files.length} pictures at once are too many; up to ${limits.images} are taken here`, 413);
  const empty = files.find((each) => each.size === 0);
  if (empty) throw new Refused(`${empty.name} is empty: choose another picture`, 422);
}

async function sent(url, { method, body, signal }) {
  const headers = token.stored() ? { Authorization: `Bearer ${token.stored()}` } : {};
  try {
    const response = await fetch(url, { method, body, headers, signal, cache: "no-store", credentials: "same-origin" });
    answered();
    return response;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (body && (await alive())) throw new Refused("The server broke the upload off: the picture may be too large, or its file has changed");
    gone();
    throw new Gone("The server does not answer");
  }
}

/** Whether the server answers at all. */
export async function alive() {
  try {
    return (await fetch(address("health"), { cache: "no-store" })).ok;
  } catch {
    return false;
  }
}

async function reason(response) {
  try {
    const told = (await response.json()).error;
    if (typeof told === "string" && told) return told;
  } catch {
    // No JSON: a proxy's page, say. The status has to do.
  }
  return `The server answers ${response.status} ${response.statusText}`.trim();
}

async function asked(path, { method = "GET", body = null, signal = null } = {}) {
  checked(body);
  for (let go = 1; ; go++) {
    const used = token.stored();
    const response = await sent(address(path), { method, body, signal });
    if (response.ok) return response;
    if (response.status === 401) {
      await token.wanted(used);
    } else if (response.status === 503 && go < TRIES) {
      await wait(Math.min(1000 * Number(response.headers.get("Retry-After") ?? 1), LONGEST_WAIT_MS));
      if (signal?.aborted) throw new DOMException("given up", "AbortError");
    } else {
      throw new Refused(await reason(response), response.status);
    }
  }
}

/** Infinite numbers come as strings, since JSON has none; a label may read the same, so the fields are named. */
const NUMBERS = new Set(["threshold", "threshold_distance", "distance", "score"]);
const revived = (name, value) => (NUMBERS.has(name) && typeof value === "string" ? Number(value) : value);

/** What a path answers, as JSON. */
export const json = async (path, options) => JSON.parse(await (await asked(path, options)).text(), revived);

/** A picture of the server's, as a blob: an <img src> could not carry the token. */
export const picture = async (path, options) => (await asked(path, options)).blob();
