// What a view is doing: working, failed with a reason and a way out, or nothing of note.

import { button, make, put } from "./dom.js";
import { Gone } from "./api.js";
import { whenBack } from "./gone.js";

/** A view's state, shown in one place of it. */
export class State {
  #place;
  #retry = null;
  #current = null;

  constructor(place) {
    this.#place = place;
    whenBack(() => {
      const retry = this.#retry;
      this.#retry = null;
      retry?.();
    });
  }

  /** Nothing is going on. */
  calm() {
    this.#retry = null;
    put(this.#place);
    this.#place.removeAttribute("aria-busy");
  }

  #work(text) {
    this.#retry = null;
    this.#place.setAttribute("aria-busy", "true");
    put(this.#place, make("p", { class: "state working", role: "status" }, make("i", { "aria-hidden": "true" }), text));
  }

  #fail(error, retry) {
    this.#place.removeAttribute("aria-busy");
    const told = make("p", { role: "alert" }, `${error.message}${/[.!?]$/.test(error.message) ? "" : "."}`);
    put(this.#place, make("div", { class: "state failed" }, told, button("Try again", retry, { class: "quiet" })));
    if (error instanceof Gone) this.#retry = retry;
  }

  /** Give up what is being waited for. */
  stop() {
    this.#current?.abort();
    this.#current = null;
    this.calm();
  }

  /** Wait for something, saying so; a later call gives this one up. What it throws is shown, with a way to try again.
   *
   * `does(signal)` answers what `then` is called with.
   */
  async run(text, does, then) {
    this.#current?.abort();
    const own = (this.#current = new AbortController());
    this.#work(text);
    try {
      const found = await does(own.signal);
      if (own.signal.aborted) return;
      this.calm();
      await then(found);
    } catch (error) {
      if (own.signal.aborted) return;
      this.#fail(error, () => this.run(text, does, then));
    }
  }
}
