// Numbers in words, as the report writes them (triune.report.formatting): percentages, so many of 100, plurals.

const known = (value) => typeof value === "number" && Number.isFinite(value);
const grouped = (whole) => whole.toLocaleString("en-US", { maximumFractionDigits: 0 });

/** A number with a fixed count of decimals, or a dash where there is none. */
export const number = (value, digits = 3) => (known(value) ? value.toFixed(digits).replace("-", "−") : "–");

/** A whole number with thousands set apart. */
export const count = (value) => grouped(value);

/** A count and its noun. */
export const plural = (value, one, many = one + "s") => `${grouped(value)} ${value === 1 ? one : many}`;

/** A measured share as a percentage; it says 0% and 100% only where that is exact. */
export function percent(share) {
  if (!known(share)) return "–";
  if (share === 0 || share === 1) return `${share * 100}%`;
  for (const digits of [1, 2, 3]) {
    const text = (share * 100).toFixed(digits);
    if (Number(text) > 0 && Number(text) < 100) return `${text}%`;
  }
  return share < 0.5 ? "under 0.001%" : "over 99.999%";
}

/** A share that somebody chose as a percentage: 5%, 0.1%. */
export const roundPercent = (share) => `${Number((share * 100).toPrecision(6))}%`;

/** A share that nobody chose as a percentage of two digits: 0.012%, 8.5%. */
export const about = (share) => `${Number((share * 100).toPrecision(2))}%`;

/** A share as so many of 100, never 0 or 100 where that is not exact. */
export function inHundred(share) {
  if (!known(share)) return "an unknown number of 100";
  const whole = Math.round(share * 100);
  if (whole === 100 && share < 1) return "more than 99 of 100";
  if (whole === 0 && share > 0) return "fewer than 1 of 100";
  return `${whole} of 100`;
}

/** A small share as so many of 100, 1,000, … : the first of these of which it is at least one. */
export function soMany(share) {
  if (!known(share)) return "an unknown number of 100";
  if (share === 0) return "none of 100";
  for (const of of [100, 1000, 10000, 100000]) {
    if (share * of >= 0.95) return share > 0.995 && share < 1 ? "more than 99 of 100" : `${Math.round(share * of)} of ${grouped(of)}`;
  }
  return "fewer than 1 of 100,000";
}

/** A text at the start of a sentence. */
export const capital = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);

/** The last part of a path: where it lies on the server is nobody's business here. */
export const lastPart = (path) => String(path).split(/[\\/]/).filter(Boolean).at(-1) ?? String(path);

/** Several things as a sentence lists them: a, b and c. */
export function listed(things) {
  return things.length < 2 ? things.join("") : `${things.slice(0, -1).join(", ")} and ${things.at(-1)}`;
}

/** A count of bytes: 20 MiB. */
export function bytes(value) {
  for (const [unit, size] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) {
    if (value >= size) return `${Number((value / size).toPrecision(3))} ${unit}`;
  }
  return plural(value, "byte");
}

/** What a distance is called beside its number. */
export const METRICS = { cosine: "cosine distance", euclidean: "Euclidean distance", squared_euclidean: "squared Euclidean distance" };
