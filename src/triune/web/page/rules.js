// Conditions on the gallery's columns, put together by choice or written as SQL.

import { at, button, make, put } from "./dom.js";

const NUMBERS = /int|float|number|decimal/i;
const COMPARED = [["=", "is"], ["!=", "is not"], ["<", "is below"], [">", "is above"]];

/** One condition as SQL writes it; null where it is not finished. */
export function condition(column, sign, value, type) {
  if (value.trim() === "") return null;
  const name = `"${column.replaceAll('"', '""')}"`;
  if (NUMBERS.test(type)) return Number.isFinite(Number(value)) ? `${name} ${sign} ${Number(value)}` : null;
  if (/bool/i.test(type)) return `${name} ${sign} ${/^(true|yes|1)$/i.test(value.trim())}`;
  return `${name} ${sign} '${value.replaceAll("'", "''")}'`;
}

/** What a picture shows first, its path last. */
function inOrder(columns) {
  const place = (name) => (name === "image" ? 2 : name === "label" || name === "identity" ? 0 : 1);
  return columns.toSorted((a, b) => place(a) - place(b));
}

/** The conditions of the search; `changed()` is called when they are others. */
export class Rules {
  #rows = [];
  #columns;
  #changed;
  #written = at("search-where");

  constructor(columns, changed) {
    this.#columns = columns;
    this.#changed = changed;
    at("search-filters").hidden = !Object.keys(columns).length;
    at("search-add-rule").addEventListener("click", () => this.#add());
    this.#written.addEventListener("change", () => this.#tell());
  }

  /** The condition; null where there is none. */
  get where() {
    return this.#written.value.trim() || null;
  }

  /** Offer the values that were seen. */
  learn(hits) {
    for (const column of Object.keys(this.#columns)) {
      const list = at(`seen-${column}`) ?? document.body.appendChild(make("datalist", { id: `seen-${column}` }));
      const seen = new Set([...list.children].map((option) => option.value));
      for (const hit of hits) {
        const value = hit[column] ?? hit.columns?.[column];
        if (value !== null && value !== undefined && seen.size < 50) seen.add(String(value));
      }
      put(list, ...[...seen].sort().map((value) => make("option", { value })));
    }
  }

  #tell() {
    at("search-active").textContent = this.where ? `· ${this.where}` : "";
    this.#changed();
  }

  #add() {
    const column = make("select", { "aria-label": "Column" }, ...inOrder(Object.keys(this.#columns)).map((name) => make("option", {}, name)));
    const sign = make("select", { "aria-label": "Comparison" }, ...COMPARED.map(([value, word]) => make("option", { value }, word)));
    const value = make("input", { type: "text", "aria-label": "Value", autocomplete: "off", spellcheck: "false" });
    const row = { column, sign, value };
    const line = make("p", { class: "rule" }, column, sign, value, button("×", () => {
      this.#rows = this.#rows.filter((each) => each !== row);
      line.remove();
      at("search-add-rule").focus();
      this.#write();
    }, { class: "remove", "aria-label": "Remove this condition" }));
    const offer = () => value.setAttribute("list", `seen-${column.value}`);
    offer();
    column.addEventListener("change", offer);
    for (const part of [column, sign, value]) part.addEventListener("change", () => this.#write());
    this.#rows.push(row);
    at("search-rules").append(line);
    value.focus();
  }

  #write() {
    const all = this.#rows.map(({ column, sign, value }) => condition(column.value, sign.value, value.value, this.#columns[column.value]));
    const where = all.filter(Boolean).join(" AND ");
    if (where === this.#written.value) return;
    this.#written.value = where;
    this.#tell();
  }
}
