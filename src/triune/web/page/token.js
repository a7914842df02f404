// The token: asked for once, kept until the tab is closed.

import { at } from "./dom.js";

const KEY = "triune-token";
let kept = null;
let asking = null;

/** The token that is sent with every request; null where there is none. */
export function stored() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return kept; // storage is switched off: for as long as the page is open, then
  }
}

function keep(value) {
  kept = value;
  try {
    sessionStorage.setItem(KEY, value);
  } catch {
    // as above
  }
}

/** Wait for another token than the one that was refused; those who wait at once share one dialog.
 *
 * Throws where the person gives up.
 */
export function wanted(refused) {
  if (stored() !== refused) return Promise.resolve();
  asking ??= dialog(refused !== null).finally(() => (asking = null));
  return asking;
}

function dialog(wrong) {
  const box = at("token");
  at("token-wrong").textContent = wrong ? "The server does not know that token." : "";
  at("token-value").value = "";
  if (!box.open) box.showModal();
  at("token-value").focus();
  return new Promise((done, failed) => {
    const end = new AbortController();
    const { signal } = end;
    at("token-form").addEventListener(
      "submit",
      (event) => {
        event.preventDefault();
        keep(at("token-value").value.trim());
        end.abort();
        box.close();
        done();
      },
      { signal },
    );
    const giveUp = () => {
      end.abort();
      box.close();
      failed(new Error("The service wants a token: open the page again to give it"));
    };
    at("token-cancel").addEventListener("click", giveUp, { signal });
    box.addEventListener("cancel", giveUp, { signal });
  });
}
