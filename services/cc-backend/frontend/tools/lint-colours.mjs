// Colours live in tokens.css and in the sequential scales of plots/colours.ts; everywhere else a literal colour is an error. Inline styles and scripts likewise.
import { readFileSync, readdirSync } from "node:fs";
import { join, relative, resolve } from "node:path";

const SRC = resolve(import.meta.dirname, "../src");
const ALLOWED = new Set(["styles/tokens.css", "plots/colours.ts"]);
const RULES = [
  [/#[0-9a-fA-F]{3,8}\b(?![\w-])/g, "literal colour; use a token of tokens.css"],
  [/\b(?:rgb|rgba|hsl|hsla|oklch|oklab)\(/g, "literal colour; use a token of tokens.css"],
  [/<[a-z][^>]*\sstyle=["{]/g, "style attribute; the policy forbids it, use style:property"],
  [/\{@html\b/g, "raw HTML"],
  [/\beval\(|new Function\(/g, "eval"],
];
let bad = 0;
for (const e of readdirSync(SRC, { recursive: true, withFileTypes: true })) {
  const path = join(e.parentPath, e.name);
  const name = relative(SRC, path);
  if (!e.isFile() || !/\.(svelte|ts|css)$/.test(name)) continue;
  const lines = readFileSync(path, "utf8").split("\n");
  if (lines.length > 310) {
    bad += 1;
    console.error(`${name}: ${lines.length} lines; split it`);
  }
  lines.forEach((line, i) => {
    for (const [re, why] of RULES) {
      if (ALLOWED.has(name) && why.startsWith("literal")) continue;
      for (const m of line.matchAll(re)) {
        if (/^#(?:each|if|key|await|snippet)/.test(m[0])) continue;
        bad += 1;
        console.error(`${name}:${i + 1}: ${m[0].trim()}: ${why}`);
      }
    }
  });
}
if (bad) process.exit(1);
