import { getContext, setContext } from "svelte";
import { type Settings, flag, int, text, texts } from "../core/settings";
import { type Clock, clockFor } from "../core/times";
import { type Ask, ask } from "../data/graphql";
import type { PageData } from "../data/page";
import { saveSetting } from "../data/settings";
import { type Palette, makePalette } from "../plots/colours";
import { type Near, makeNear } from "../plots/near";
import type { Env, TipRows } from "../plots/timeplot";

export type Density = "comfortable" | "compact" | "dense";
export const DENSITIES: readonly Density[] = ["comfortable", "compact", "dense"];
export type Theme = "system" | "light" | "dark";

/** What all parts of a page share; one per document, handed down as context. */
export interface App {
  readonly page: PageData;
  readonly settings: Settings;
  readonly ask: Ask;
  readonly near: Near;
  readonly palette: Palette;
  readonly clock: Clock;
  density: Density;
  utc: boolean;
  /** job time or clock time on job pages */
  clockTime: boolean;
  /** threshold zones in plots */
  zones: boolean;
  readonly singleKeys: boolean;
  /** grows when plots have to be drawn anew */
  readonly look: number;
  readonly tip: { at: { x: number; y: number } | null; rows: TipRows | null };
  readonly env: Env;
  now(): number;
  toggleTheme(): void;
  save(key: string, value: unknown): void;
}

const KEY = Symbol("app");
export const getApp = (): App => getContext<App>(KEY);

export function provideApp(page: PageData): App {
  const root = document.documentElement;
  const settings = $state<Settings>({ ...page.settings });
  const skew = page.now - Date.now() / 1000;
  const local = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  const scheme = texts(page.settings, "plotConfiguration_colorScheme");
  const palette = makePalette(document, scheme?.length ? scheme : null);
  const stored = text(page.settings, "ui_density") as Density | null;
  const first: Density = stored && DENSITIES.includes(stored) ? stored : "compact";
  let density = $state<Density>(first);
  let utc = $state(flag(page.settings, "ui_utc", false));
  let clockTime = $state(text(page.settings, "ui_timeAxis") === "clock");
  let zones = $state(true);
  let look = $state(0);
  const tip = $state<App["tip"]>({ at: null, rows: null });
  const clock = $derived(clockFor(utc ? "UTC" : local));
  const redraw = () => {
    palette.forget();
    look += 1;
  };

  root.dataset.density = first;
  root.dataset.tint = flag(page.settings, "plotConfiguration_colorBackground", true) ? "on" : "off";
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  // Print is always light; what was drawn for the screen may be dark.
  addEventListener("beforeprint", redraw);
  addEventListener("afterprint", redraw);
  void document.fonts.ready.then(redraw);

  const now = () => Math.floor(Date.now() / 1000 + skew);
  const save = (key: string, value: unknown) => {
    settings[key] = value;
    saveSetting(key, value);
  };
  const app: App = {
    page,
    settings,
    ask,
    palette,
    near: makeNear(),
    tip,
    now,
    save,
    get clock() {
      return clock;
    },
    get density() {
      return density;
    },
    set density(d) {
      density = d;
      root.dataset.density = d;
      redraw();
      save("ui_density", d);
    },
    get utc() {
      return utc;
    },
    set utc(on) {
      utc = on;
      save("ui_utc", on);
      redraw();
    },
    get clockTime() {
      return clockTime;
    },
    set clockTime(on) {
      clockTime = on;
      save("ui_timeAxis", on ? "clock" : "job");
    },
    get zones() {
      return zones;
    },
    set zones(on) {
      zones = on;
    },
    get singleKeys() {
      return flag(settings, "ui_singleKeyShortcuts", true);
    },
    get look() {
      return look;
    },
    get env(): Env {
      return {
        palette,
        clock,
        now: now(),
        lineWidth: int(settings, "plotConfiguration_lineWidth", 3) / 2,
        tip: (at, rows) => {
          tip.at = at;
          tip.rows = at ? (rows ?? null) : null;
        },
      };
    },
    toggleTheme() {
      const next: Theme = palette.dark() ? "light" : "dark";
      root.dataset.theme = next;
      try {
        localStorage.setItem("cc-theme", next);
      } catch {
        /* private mode: the choice lives as long as the page */
      }
      redraw();
    },
  };
  setContext(KEY, app);
  return app;
}
