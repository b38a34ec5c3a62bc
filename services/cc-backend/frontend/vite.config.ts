import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { type Plugin, defineConfig } from "vite";

const OUT = resolve(import.meta.dirname, "../src/cc_backend/web/static");

/** A `.gz` beside every built file that gets smaller by it: the server sends these and never compresses. Fonts are compressed already. */
function precompress(): Plugin {
  return {
    name: "precompress",
    apply: "build",
    closeBundle() {
      for (const entry of readdirSync(OUT, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile() || entry.name === "manifest.json" || entry.name.endsWith(".gz")) continue;
        const path = join(entry.parentPath, entry.name);
        const raw = readFileSync(path);
        const small = gzipSync(raw, { level: 9 });
        if (small.length < raw.length) writeFileSync(`${path}.gz`, small);
      }
    },
  };
}

export default defineConfig({
  base: "/static/",
  plugins: [svelte(), precompress()],
  build: {
    outDir: OUT,
    emptyOutDir: true,
    manifest: "manifest.json",
    target: "es2022",
    // The content security policy allows no data: addresses for styles and fonts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { input: ["src/main.ts", "src/theme.ts"] },
  },
  test: { include: ["tests/**/*.test.ts"], environment: "node" },
} as import("vite").UserConfig);
