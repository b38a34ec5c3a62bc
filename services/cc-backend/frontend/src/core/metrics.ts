import type { Cluster, Job, JobMetric, MetricConfig, NamedMetric, Scope, Series, Stat, SubCluster, Unit, Value } from "./types";

/** Coarse to fine. */
export const SCOPES: readonly Scope[] = ["node", "socket", "memoryDomain", "core", "hwthread", "accelerator"];

export const subClusterOf = (clusters: Cluster[], cluster: string, sub: string): SubCluster | null =>
  clusters.find((c) => c.name === cluster)?.subClusters.find((s) => s.name === sub) ?? null;

export const configOf = (sub: SubCluster | null, metric: string): MetricConfig | null =>
  sub?.metricConfig.find((m) => m.name === metric) ?? null;

/** First configuration of a metric anywhere in the cluster (or in all clusters): for heads of columns that mix subclusters. */
export function anyConfig(clusters: Cluster[], cluster: string | null, metric: string): MetricConfig | null {
  for (const c of clusters) {
    if (cluster && c.name !== cluster) continue;
    for (const s of c.subClusters) {
      const found = configOf(s, metric);
      if (found) return found;
    }
  }
  return null;
}

/** configured · disabled (in the cluster, removed for this subcluster) · none (not in the cluster) · outside (host in no subcluster) */
export type Availability = "configured" | "disabled" | "none" | "outside";
export function availability(clusters: Cluster[], cluster: string, sub: string, metric: string): Availability {
  const found = clusters.find((c) => c.name === cluster);
  const own = found?.subClusters.find((s) => s.name === sub);
  if (own && configOf(own, metric)) return "configured";
  if (!found?.subClusters.some((s) => configOf(s, metric))) return "none";
  return own ? "disabled" : "outside";
}

/** Names of all metrics of a cluster, optionally of one subcluster, in alphabetical order. */
export function metricNames(clusters: Cluster[], cluster: string | null, sub: string | null): string[] {
  const names = new Set<string>();
  for (const c of clusters) {
    if (cluster && c.name !== cluster) continue;
    for (const s of c.subClusters) if (!sub || s.name === sub) for (const m of s.metricConfig) names.add(m.name);
  }
  return [...names].sort((a, b) => a.localeCompare(b));
}

export function finest(list: NamedMetric[]): NamedMetric | null {
  return list.reduce<NamedMetric | null>((best, m) => (!best || SCOPES.indexOf(m.scope) > SCOPES.indexOf(best.scope) ? m : best), null);
}
export function coarsest(list: NamedMetric[]): NamedMetric | null {
  return list.reduce<NamedMetric | null>((best, m) => (!best || SCOPES.indexOf(m.scope) < SCOPES.indexOf(best.scope) ? m : best), null);
}

/** Mean of the averages and extremes over all series; from the data where statistics are missing. Null when there is nothing. */
export function summary(metric: JobMetric): Stat | null {
  let sum = 0;
  let n = 0;
  let min = Infinity;
  let max = -Infinity;
  for (const s of metric.series ?? []) {
    const stat = s.statistics ?? statOf(s.data ?? []);
    if (!stat) continue;
    sum += stat.avg;
    n += 1;
    min = Math.min(min, stat.min);
    max = Math.max(max, stat.max);
  }
  return n ? { avg: sum / n, min, max } : null;
}

export function statOf(data: readonly Value[]): Stat | null {
  let sum = 0;
  let n = 0;
  let min = Infinity;
  let max = -Infinity;
  for (const v of data) {
    if (v == null) continue;
    sum += v;
    n += 1;
    if (v < min) min = v;
    if (v > max) max = v;
  }
  return n ? { avg: sum / n, min, max } : null;
}

/** Plain name of a series: host at node scope, else kind and hardware id, with the host where several are drawn (web-ui 9.2, PITFALL). */
export function seriesName(s: Series, scope: Scope, position: number, manyHosts: boolean): string {
  if (scope === "node") return s.hostname;
  const kind = scope === "accelerator" ? "acc" : scope === "hwthread" ? "thread" : scope === "memoryDomain" ? "domain" : scope;
  return `${manyHosts ? `${s.hostname}/` : ""}${kind} ${s.id ?? position}`;
}

/** Unit that came with the data, else the configured one. */
export const unitOf = (metric: JobMetric | null, config: MetricConfig | null): Unit | null =>
  metric?.unit?.base ? metric.unit : (config?.unit ?? metric?.unit ?? null);

/** `2` before `10`: order of host names and hardware ids. */
export const natural = new Intl.Collator("en", { numeric: true }).compare;

/** Metrics and hosts without data, as real pairs: for the Resources tab. */
export function missingPairs(
  job: Job,
  expected: string[],
  loaded: Map<string, NamedMetric[]>,
): { metrics: string[]; hosts: { host: string; metrics: string[] }[] } {
  const metrics = expected.filter((m) => !loaded.get(m)?.some((x) => x.metric.series?.length));
  const hosts: { host: string; metrics: string[] }[] = [];
  for (const { hostname } of job.resources) {
    const lacking = expected.filter(
      (m) => !metrics.includes(m) && !loaded.get(m)?.some((x) => x.metric.series?.some((s) => s.hostname === hostname)),
    );
    if (lacking.length) hosts.push({ host: hostname, metrics: lacking });
  }
  return { metrics, hosts };
}
