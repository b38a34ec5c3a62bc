import { type Clock, axisDuration } from "./times";
import type { Thresholds } from "./types";

/** 1 2 5 10 15 30 s and min, 1 2 3 6 12 h, 1 2 7 d */
export const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800] as const;
const LABEL_ROOM = 64;
const END_ROOM = 26;
/** Where "0" would stand alone, a short label may come this near. */
const TIGHT_ROOM = 32;

/** How time is told on an axis: since the job began, by the clock, or back from now. */
export type TimeMode = "job" | "clock" | "back";

/** Step whose labels are at least 64 px apart. */
export function timeStep(span: number, width: number): number {
  const wanted = span / Math.max(1, width / LABEL_ROOM);
  return STEPS.find((s) => s >= wanted) ?? Math.ceil(wanted / 604800) * 604800;
}

/**
 * Places of labels between `min` and `max` (seconds) on `width` px. `offset` shifts the grid to the local day (clock mode).
 * No label nearer than 26 px to the right end, except zero, which is "0" or "now". `tight`: labels are short, so
 * that a second one may come nearer where there would be one only.
 */
export function timeTicks(min: number, max: number, width: number, offset = 0, tight = false): number[] {
  const span = max - min;
  if (!(span > 0) || !(width > 0)) return [];
  const ticks = (step: number) => {
    const out: number[] = [];
    for (let t = Math.ceil((min + offset) / step) * step - offset; t <= max; t += step) {
      if (t === 0 || max - t > (END_ROOM * span) / width) out.push(t === 0 ? 0 : t);
    }
    return out;
  };
  const step = timeStep(span, width);
  const out = ticks(step);
  const finer = STEPS.findLast((s) => s < step);
  return tight && out.length < 2 && finer && (finer * width) / span >= TIGHT_ROOM ? ticks(finer) : out;
}

export function timeLabels(ticks: number[], mode: TimeMode, step: number, clock: Clock): string[] {
  return ticks.map((t) => {
    if (mode === "back" && t === 0) return "now";
    if (mode !== "clock") return axisDuration(t);
    const hour = clock.time(t, step < 60);
    return step >= 86400 || hour.startsWith("00:00") ? clock.day(t) : hour;
  });
}

/** 0 to 1.1 × the larger of normal and data; data far beyond the peak (10 ×) are cut there (web-ui 9.2). */
export function yRange(t: Thresholds | null, max: number): [number, number] {
  const top = Math.max(t?.normal ?? 0, Number.isFinite(max) ? max : 0);
  if (top <= 0) return [0, 1];
  return [0, 1.1 * (t && t.peak > 0 && top >= 10 * t.peak ? 10 * t.peak : top)];
}
