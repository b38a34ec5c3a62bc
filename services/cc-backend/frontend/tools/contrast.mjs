// Contrast of every token pair in use (WCAG 2.2: text 4.5, graphics and controls 3). node contrast.mjs [--md]
import { readFileSync } from "node:fs";
const css = readFileSync(new URL("../src/styles/tokens.css", import.meta.url), "utf8"),
  T = {};
for (const [, n, l, d] of css.matchAll(/--([\w-]+):\s*light-dark\((#\w+), (#\w+)\)/g)) T[n] = [l, d];
const lin = (v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
const lum = (h) => [1, 3, 5].map((i) => lin(parseInt(h.slice(i, i + 2), 16))).reduce((a, v, i) => a + v * [0.2126, 0.7152, 0.0722][i], 0);
const ratio = (a, b) => {
  const [x, y] = [lum(a), lum(b)].sort((p, q) => q - p);
  return (x + 0.05) / (y + 0.05);
};
const text = [];
for (const fg of ["ink", "ink-2", "ink-3"]) text.push([fg, ["bg", "panel", "sunken", "raised", "accent-soft"]]);
text.push(
  ["accent", ["bg", "panel", "sunken", "accent-soft", "bar"]],
  ["on-accent", ["accent-fill"]],
  ["ink", ["bar", "alert-soft", "caution-soft"]],
  ["ink-3", ["alert-soft", "caution-soft"]],
  ["axis", ["panel", "alert-soft", "caution-soft"]],
);
for (const l of ["alert", "caution", "ok", "info", "mute"]) text.push([`${l}-ink`, ["panel", "bg", `${l}-soft`]]);
for (const s of ["private", "global", "admin"]) text.push([`tag-${s}-ink`, [`tag-${s}`]]);
const gfx = [
  ["line-strong", ["panel", "bg", "raised"]],
  ["focus", ["panel", "bg", "sunken", "accent-soft"]],
  ["normal-line", ["panel"]],
  ["roof", ["panel"]],
];
for (const l of ["alert", "caution", "ok", "info", "mute"]) gfx.push([`${l}-fill`, ["panel", `${l}-soft`]]);
for (let i = 1; i <= 8; i++) gfx.push([`s${i}`, ["panel"]]);
for (const s of ["max", "med", "min"]) gfx.push([`stat-${s}`, ["panel"]]);
for (const s of ["allocated", "mixed", "reserved", "down", "unknown"]) gfx.push([`st-${s}`, ["panel"]]);
let bad = 0,
  rows = [];
for (const [need, list] of [
  [4.5, text],
  [3, gfx],
])
  for (const [fg, bgs] of list)
    for (const bg of bgs) {
      const r = [0, 1].map((m) => ratio(T[fg][m], T[bg][m])),
        ok = r.every((v) => v >= need);
      if (!ok) bad++;
      rows.push([need, fg, bg, r[0].toFixed(2), r[1].toFixed(2), ok ? "" : "FAIL"]);
    }
if (process.argv.includes("--md")) {
  // one line per foreground: worst pair
  const by = new Map();
  for (const [n, fg, bg, l, d] of rows) {
    const k = `${n} ${fg}`,
      o = by.get(k) || { n, fg, bgs: [], l: [99], d: [99] };
    o.bgs.push(bg);
    if (+l < o.l[0]) o.l = [+l, bg];
    if (+d < o.d[0]) o.d = [+d, bg];
    by.set(k, o);
  }
  console.log("| token | on | needs | light, worst | dark, worst |\n|---|---|---|---|---|");
  for (const o of by.values())
    console.log(`| ${o.fg} | ${o.bgs.join(", ")} | ${o.n} | ${o.l[0].toFixed(2)} (${o.l[1]}) | ${o.d[0].toFixed(2)} (${o.d[1]}) |`);
} else for (const r of rows) if (r[5]) console.log(r.join("\t"));
console.error(`${rows.length} pairs in two themes, ${bad} below the limit`);
process.exit(bad ? 1 : 0);
