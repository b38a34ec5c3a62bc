import type { Unit } from "./types";

/** Thin no-break space: between a number and its unit, and between groups of three digits. */
export const THIN = "\u202f";
const PREFIXES = ["", "k", "M", "G", "T", "P", "E"];
/** Units of physical amounts: these are scaled by prefix, all others (percent, °C, IPC) stay as they are. */
const SCALED = /^(F\/s|B\/s|B|Hz|W|Wh|J|packets\/s|IO\/s|reqs\/s|requests\/s)$/;

const isNumber = (v: number | null | undefined): v is number => v != null && Number.isFinite(v);
const tidy = (text: string): string => (text.includes(".") ? text.replace(/\.?0+$/, "") : text).replace("-", "−");

/** Three significant digits, never fewer than the integer part: `0.315 7.53 41.6 531 2755 63 592 124 k`. No value is `–`. */
export function num(v: number | null | undefined): string {
  if (!isNumber(v)) return "–";
  const size = Math.abs(v);
  if (size === 0) return "0";
  if (size < 1e-3) return v > 0 ? `<${THIN}0.001` : `>${THIN}−0.001`;
  if (size >= 99999.5) return scaled(v, 0, "");
  if (size >= 9999.5)
    return tidy(
      Math.round(v)
        .toString()
        .replace(/\B(?=(\d{3})+$)/g, THIN),
    );
  return tidy(size >= 99.95 ? v.toFixed(0) : v.toPrecision(3));
}

/** The same with a fixed number of decimals, for columns that are compared (energy: two). */
export function fixed(v: number | null | undefined, decimals: number): string {
  if (!isNumber(v)) return "–";
  const [whole = "0", part] = Math.abs(v).toFixed(decimals).split(".");
  const grouped = whole.length > 4 ? whole.replace(/\B(?=(\d{3})+$)/g, THIN) : whole;
  return `${v < 0 ? "−" : ""}${grouped}${part ? `.${part}` : ""}`;
}

function scaled(v: number, from: number, base: string): string {
  let power = from;
  let x = v;
  // 999.5 would be printed as 1000 with three digits.
  while (Math.abs(x) >= 999.5 && power < PREFIXES.length - 1) {
    x /= 1000;
    power += 1;
  }
  // At most one prefix down: 0.315 GF/s is said as 315 MF/s, a much smaller value stays with zeros.
  if (Math.abs(x) < 1 && x !== 0 && power > 0 && power === from) {
    x *= 1000;
    power -= 1;
  }
  return `${num(x)}${THIN}${PREFIXES[power]}${base}`.trimEnd();
}

/** Cluster files spell the unit of flop rates in several ways; one of them is shown. */
const SPELLING: Record<string, string> = { "Flops/s": "F/s", "Flop/s": "F/s" };
const shownBase = (unit: Unit): string => SPELLING[unit.base] ?? unit.base;

/** `GF/s` of `{prefix: "G", base: "F/s"}`; empty for a metric without unit. */
export function unitText(unit: Unit | null | undefined): string {
  return unit ? `${unit.prefix ?? ""}${shownBase(unit)}` : "";
}

/** A value that stands alone, at its best prefix: 9216 `GF/s` is `9.22 TF/s`. */
export function withUnit(v: number | null | undefined, unit: Unit | null | undefined): string {
  if (!isNumber(v)) return "–";
  const base = unit ? shownBase(unit) : "";
  const prefix = unit?.prefix === "K" ? "k" : (unit?.prefix ?? "");
  const power = PREFIXES.indexOf(prefix);
  if (SCALED.test(base) && power >= 0) return scaled(v, power, base);
  const text = unitText(unit);
  return text ? `${num(v)}${THIN}${text}` : num(v);
}

/** Count with thin spaces, never with a prefix: `124 512`. */
export function count(n: number | null | undefined): string {
  return isNumber(n) ? fixed(n, 0) : "–";
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}
