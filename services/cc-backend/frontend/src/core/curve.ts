import { type Level, badIsHigh, level, thresholdsAt, tint } from "./levels";
import { seriesName, summary, unitOf } from "./metrics";
import { withUnit } from "./numbers";
import type { JobMetric, MetricConfig, Resampling, Scope, Stat, StatsSeries, SubCluster, Thresholds, Unit, Value } from "./types";

/** Everything that a time plot draws and says, without a pixel in it. */
export interface Curve {
  metric: string;
  scope: Scope;
  unit: Unit | null;
  timestep: number;
  kind: "lines" | "statistics";
  /** seconds since the first sample */
  x: number[];
  /** statistics: min, median (or mean), max */
  lines: Value[][];
  names: string[];
  /** place of each line in the palette: colour follows the entity, not the rank */
  colours: number[];
  thresholds: Thresholds | null;
  stat: Stat | null;
  tint: "alert" | "caution" | null;
  level: Level;
  /** largest value that is drawn */
  top: number;
}

export interface CurveOptions {
  statistics?: boolean;
  host?: string | null;
}

/** Minimum, median and maximum per step over the values that are there; fewer than three give a gap (graphql 7.4, `statisticsSeries`). */
export function bandOf(series: readonly (readonly Value[])[]): StatsSeries {
  const length = series.reduce((n, l) => Math.max(n, l.length), 0);
  const out: StatsSeries = { min: [], median: [], mean: [], max: [] };
  for (let i = 0; i < length; i += 1) {
    const v = series.flatMap((l) => l[i] ?? []).sort((a, b) => a - b);
    const half = v.length >> 1;
    const enough = v.length >= 3;
    out.min.push(enough ? (v[0] ?? null) : null);
    out.median.push(enough ? (v.length % 2 ? (v[half] ?? null) : ((v[half - 1] ?? 0) + (v[half] ?? 0)) / 2) : null);
    out.max.push(enough ? (v.at(-1) ?? null) : null);
  }
  return out;
}

/** From so many series on a list cell draws their statistics. */
export const BAND_FROM = 8;

/** Null when no sample is there to draw. */
export function curve(
  name: string,
  scope: Scope,
  m: JobMetric,
  config: MetricConfig | null,
  sub: SubCluster | null,
  options: CurveOptions = {},
): Curve | null {
  const thresholds = thresholdsAt(config, sub, scope);
  const dense = (m.series?.length ?? 0) >= BAND_FROM;
  const stats = options.statistics ? (m.statisticsSeries ?? (dense ? bandOf((m.series ?? []).map((s) => s.data ?? [])) : null)) : null;
  const middle = stats ? (stats.median?.length ? stats.median : stats.mean) : null;
  const all = m.series ?? [];
  const shown = options.host ? all.filter((s) => s.hostname === options.host) : all;
  const manyHosts = new Set(shown.map((s) => s.hostname)).size > 1;
  const lines = stats && middle ? [stats.min, middle, stats.max] : shown.map((s) => s.data ?? []);
  const length = lines.reduce((n, l) => Math.max(n, l.length), 0);
  if (length === 0 || !lines.some((l) => l.some((v) => v != null))) return null;
  const stat = summary(options.host ? { ...m, series: shown } : m) ?? null;
  const top = lines.reduce((t, l) => l.reduce<number>((u, v) => (v != null && v > u ? v : u), t), 0);
  return {
    metric: name,
    scope,
    unit: unitOf(m, config),
    timestep: m.timestep || 60,
    kind: stats ? "statistics" : "lines",
    x: Array.from({ length }, (_, i) => i * (m.timestep || 60)),
    lines: lines.map((l) => (l.length === length ? l : [...l, ...Array<null>(length - l.length).fill(null)])),
    names: stats ? ["min", stats.median?.length ? "median" : "mean", "max"] : shown.map((s, i) => seriesName(s, scope, i, manyHosts)),
    colours: stats ? [] : shown.map((s) => all.indexOf(s)),
    thresholds,
    stat,
    top,
    tint: tint(thresholds, stat?.avg ?? null),
    // The glyph of a curve follows the same side of the limits as its ground and zones do.
    level: level(thresholds && { ...thresholds, lowerIsBetter: badIsHigh(thresholds) }, stat?.avg),
  };
}

/** Places of samples with a gap (or an end) on both sides. */
export const loneSamples = (line: readonly Value[]): number[] =>
  line.flatMap((v, i) => (v != null && line[i - 1] == null && line[i + 1] == null ? [i] : []));

/** The sentence that stands for the plot: metric, mean, range, level. */
export function sentence(c: Curve, of: string): string {
  if (!c.stat) return `${c.metric} of ${of}: no statistics`;
  const word = c.tint ? `, mean in the ${c.tint} range` : "";
  return `${c.metric} of ${of}, ${c.scope} scope: mean ${withUnit(c.stat.avg, c.unit)}, from ${withUnit(c.stat.min, c.unit)} to ${withUnit(c.stat.max, c.unit)}${word}`;
}

/**
 * Resolution to ask for after a zoom to `points` visible samples, or null when the data at hand are right (web-ui 9.2,
 * resampling on zoom): with at most `trigger` points the wanted step is points × timestep / trigger, and the nearest
 * configured resolution is taken.
 */
export function zoomResolution(points: number, timestep: number, resampling: Resampling | null | undefined): number | null {
  if (!resampling?.resolutions.length || points > resampling.trigger) return null;
  const finestStep = Math.min(...resampling.resolutions);
  if (timestep <= finestStep) return null;
  const wanted = (points * timestep) / resampling.trigger;
  const best = resampling.resolutions.reduce((a, b) => (Math.abs(b - wanted) < Math.abs(a - wanted) ? b : a));
  return best === timestep ? null : best;
}
