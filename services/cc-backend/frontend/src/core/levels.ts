import type { FootprintValue, Job, MetricConfig, Scope, SubCluster, Thresholds } from "./types";

/** `info` is shown as "High", `error` as "Out of range" (web-ui 9.3, web-design 4). */
export type Level = "alert" | "caution" | "ok" | "info" | "error" | "none";
export const LEVEL_WORDS: Record<Level, string> = {
  alert: "Alert",
  caution: "Caution",
  ok: "OK",
  info: "High",
  error: "Out of range",
  none: "No thresholds",
};
export const LEVEL_ORDER: readonly Level[] = ["alert", "caution", "ok", "info", "error", "none"];

/** Both limits zero: nobody configured any, so nothing is below (or above) them. */
export const hasLimits = (t: Pick<Thresholds, "alert" | "caution">): boolean => t.alert !== 0 || t.caution !== 0;

/** Level of a footprint value; tested in the order alert, caution, ok, info, anything else is out of range. Without a peak nothing is beyond it. */
export function level(t: Thresholds | null, v: number | null | undefined): Level {
  if (!t || v == null) return "none";
  if (!(v >= 0) || (t.peak > 0 && v > t.peak)) return "error";
  if (!hasLimits(t)) return t.lowerIsBetter || !t.normal || v <= t.normal ? "ok" : "info";
  if (t.lowerIsBetter) return v >= t.alert ? "alert" : v >= t.caution ? "caution" : "ok";
  if (v <= t.alert) return "alert";
  if (v <= t.caution) return "caution";
  return t.normal == null || v <= t.normal ? "ok" : "info";
}

/** Are the bad values the large ones? */
export const badIsHigh = (t: Thresholds): boolean => t.lowerIsBetter || t.alert >= t.caution;

/** Ground of a plot whose mean is `mean`: alert, caution or none (web-ui 9.2, Background). */
export function tint(t: Thresholds | null, mean: number | null): "alert" | "caution" | null {
  if (!t || mean == null || !hasLimits(t)) return null;
  const beyond = (limit: number) => (badIsHigh(t) ? mean >= limit : mean <= limit);
  return beyond(t.alert) ? "alert" : beyond(t.caution) ? "caution" : null;
}

/** Hardware units of one node at a scope, 0 where the topology does not say. */
export function unitsPerNode(sub: SubCluster, scope: Scope): number {
  const cores = sub.socketsPerNode * sub.coresPerSocket;
  switch (scope) {
    case "node":
      return 1;
    case "socket":
      return sub.socketsPerNode;
    case "memoryDomain":
      return sub.topology.memoryDomain?.length ?? 0;
    case "core":
      return cores;
    case "hwthread":
      return cores * sub.threadsPerCore;
    case "accelerator":
      return sub.topology.accelerators?.length ?? 0;
  }
}

const times = (c: MetricConfig, f: number): Thresholds => ({
  peak: c.peak * f,
  normal: c.normal == null ? null : c.normal * f,
  caution: c.caution * f,
  alert: c.alert * f,
  lowerIsBetter: c.lowerIsBetter ?? false,
});

/**
 * Thresholds of a curve at `scope`: configured values are per node; a summed metric has its part
 * of them per unit, a mean has them as they are.
 * Null without aggregation or any configured value: then nothing is drawn (web-ui 9.2).
 */
export function thresholdsAt(config: MetricConfig | null, sub: SubCluster | null, scope: Scope): Thresholds | null {
  if (!config || (config.peak === 0 && config.caution === 0 && config.alert === 0 && !config.normal)) return null;
  if (config.aggregation === "avg") return times(config, 1);
  if (config.aggregation !== "sum") return null;
  const units = sub ? unitsPerNode(sub, scope) : scope === "node" ? 1 : 0;
  return units > 0 ? times(config, 1 / units) : null;
}

/** What part of its nodes a job has: hardware threads, or accelerators for their metrics. 1 for exclusive jobs. */
export function share(job: Pick<Job, "shared" | "numHWThreads" | "numAcc" | "numNodes">, sub: SubCluster | null, native: Scope): number {
  if (job.shared === "none" || !sub) return 1;
  const own = native === "accelerator" ? job.numAcc : job.numHWThreads;
  const all = Math.max(1, job.numNodes) * unitsPerNode(sub, native === "accelerator" ? "accelerator" : "hwthread");
  return own > 0 && all > 0 ? Math.min(1, own / all) : 1;
}

/** Thresholds of a footprint value; on shared nodes a summed metric is held against the job's share of the node (web-ui 16.6). */
export function footprintThresholds(config: MetricConfig | null, sub: SubCluster | null, job: Job): Thresholds | null {
  if (!config || (config.peak === 0 && config.caution === 0 && config.alert === 0)) return null;
  return times(config, config.aggregation === "sum" ? share(job, sub, config.scope) : 1);
}

export interface Judged extends FootprintValue {
  thresholds: Thresholds | null;
  level: Level;
  config: MetricConfig | null;
}

/** Footprint of a job, worst first, inside a level by name. */
export function judgeFootprint(job: Job, sub: SubCluster | null): Judged[] {
  return (job.footprint ?? [])
    .map((f) => {
      const config = sub?.metricConfig.find((m) => m.name === f.name) ?? null;
      const thresholds = footprintThresholds(config, sub, job);
      return { ...f, thresholds, config, level: level(thresholds, f.value) };
    })
    .sort((a, b) => LEVEL_ORDER.indexOf(a.level) - LEVEL_ORDER.indexOf(b.level) || a.name.localeCompare(b.name));
}
