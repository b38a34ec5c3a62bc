// Answers for the development server: clusters and two archived jobs from fixtures, everything else computed.
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";

const STEP = 60;
const noise = (seed) => () => (seed = (seed * 16807) % 2147483647) / 2147483647;

export function loadClusters(data) {
  const root = join(data, "job-archive/archive-v3");
  return ["emmy", "alex"].map((name) => {
    const raw = JSON.parse(readFileSync(join(root, name, "cluster.json"), "utf8"));
    const subClusters = raw.subClusters.map((s) => {
      const metricConfig = raw.metricConfig.flatMap((m) => {
        const own = m.subClusters?.find((x) => x.name === s.name) ?? {};
        if (own.remove) return [];
        const v = (k) => own[k] ?? m[k] ?? 0;
        return [
          {
            name: m.name,
            unit: { base: m.unit?.base ?? "", prefix: m.unit?.prefix ?? "" },
            scope: m.scope,
            aggregation: m.aggregation ?? "",
            timestep: m.timestep,
            peak: v("peak"),
            normal: v("normal"),
            caution: v("caution"),
            alert: v("alert"),
            lowerIsBetter: own.lowerIsBetter ?? m.lowerIsBetter ?? false,
            footprint: own.footprint ?? m.footprint ?? "",
            energy: "",
          },
        ];
      });
      return {
        ...s,
        numberOfNodes: 1,
        topology: { memoryDomain: s.topology.memoryDomain ?? [], accelerators: s.topology.accelerators ?? null },
        metricConfig,
        footprint: metricConfig.filter((m) => m.footprint).map((m) => m.name),
      };
    });
    return { name, subClusters };
  });
}

const FOOT = {
  cpu_load: "avg",
  flops_any: "avg",
  mem_bw: "avg",
  mem_used: "max",
  acc_utilization: "avg",
  acc_mem_used: "max",
  acc_power: "avg",
  ipc: "avg",
  clock: "avg",
};
export const footprinted = (clusters) => {
  for (const c of clusters)
    for (const s of c.subClusters) {
      for (const m of s.metricConfig) m.footprint ||= FOOT[m.name] ?? "";
      s.footprint = s.metricConfig.filter((m) => m.footprint).map((m) => m.name);
    }
  return clusters;
};

/** Curve of a metric: around `level` of its peak, with waves, noise and now and then a gap. */
export function curveOf(metric, seed, n, step = STEP, level) {
  const rnd = noise(seed * 7919 + metric.name.length * 131 + metric.name.charCodeAt(0));
  for (let i = 0; i < 5; i += 1) rnd();
  const share = level ?? 0.05 + 0.9 * rnd() ** 1.4;
  const top = (metric.peak || 100) * share;
  const period = 20 + rnd() * 60;
  const out = [];
  for (let i = 0; i < n; i += 1) {
    const gap = rnd() < 0.001;
    const v = top * (0.86 + 0.1 * Math.sin((i / period) * 6.28) + 0.08 * (rnd() - 0.5)) * (rnd() < 0.01 ? 0.4 : 1) * (i < 3 ? i / 3 : 1);
    out.push(gap ? null : Math.max(0, Number(v.toPrecision(4))));
  }
  return out;
}
export const statOf = (d) => {
  const v = d.filter((x) => x != null);
  return v.length ? { avg: v.reduce((a, b) => a + b, 0) / v.length, min: Math.min(...v), max: Math.max(...v) } : { avg: 0, min: 0, max: 0 };
};
export function thin(d, points) {
  const k = Math.max(1, Math.ceil(d.length / points));
  const out = [];
  for (let i = 0; i < d.length; i += k) {
    const v = d.slice(i, i + k).filter((x) => x != null);
    out.push(v.length ? v.reduce((a, b) => a + b, 0) / v.length : null);
  }
  return { data: out, k };
}
export function statistics(series) {
  if (series.length < 8) return null;
  const n = Math.max(...series.map((s) => s.data.length));
  const out = { min: [], median: [], mean: [], max: [] };
  for (let i = 0; i < n; i += 1) {
    const v = series
      .map((s) => s.data[i])
      .filter((x) => x != null)
      .sort((a, b) => a - b);
    out.min.push(v[0] ?? null);
    out.median.push(v[v.length >> 1] ?? null);
    out.max.push(v.at(-1) ?? null);
  }
  return out;
}

export function archivedJobs(data, clusters) {
  const root = join(data, "job-archive/archive-v3/emmy");
  const jobs = [];
  for (const a of readdirSync(root)) {
    if (!/^\d+$/.test(a)) continue;
    for (const b of readdirSync(join(root, a)))
      for (const c of readdirSync(join(root, a, b))) {
        const dir = join(root, a, b, c);
        if (!existsSync(join(dir, "meta.json"))) continue;
        const meta = JSON.parse(readFileSync(join(dir, "meta.json"), "utf8"));
        const series = JSON.parse(gunzipSync(readFileSync(join(dir, "data.json.gz"))));
        const sub = clusters.find((x) => x.name === "emmy").subClusters.find((x) => x.name === meta.subCluster);
        jobs.push({ meta, series, sub });
      }
  }
  return jobs;
}
