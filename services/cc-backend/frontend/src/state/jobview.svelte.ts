import { zoomResolution } from "../core/curve";
import { configOf, subClusterOf } from "../core/metrics";
import { metricList } from "../core/settings";
import type { Job, NamedMetric, Scope, ScopedStats } from "../core/types";
import { type QueryError, errorOf } from "../data/graphql";
import { attempt, jobMetrics, jobStatistics, loadJob } from "../data/jobs";
import type { Window } from "../plots/timeplot";
import type { App } from "./app.svelte";

/** Scopes that the first request asks for (web-ui 10.4): node; accelerator where a metric is native there; socket and core on one node. */
export function firstScopes(job: Job, natives: Scope[]): Scope[] {
  const out: Scope[] = ["node"];
  if (job.numNodes === 1) out.push("socket", "core");
  if (job.numAcc > 0 && natives.includes("accelerator")) out.push("accelerator");
  return out;
}

const ALL_SCOPES: Scope[] = ["node", "socket", "core", "accelerator"];

/** One job with everything that its page shows; each part loads and fails on its own, and old data stay until new ones are there. */
export function createJobView(app: App, id: number) {
  let job = $state.raw<Job | null>(null);
  let error = $state.raw<QueryError | null>(null);
  let gone = $state(false);
  let busy = $state(true);
  let updated = $state<number | null>(null);
  let loaded = $state.raw(new Map<string, NamedMetric[]>());
  let plotsBusy = $state(true);
  let plotsError = $state.raw<QueryError | null>(null);
  let roof = $state.raw<{ data: NamedMetric[] | null; error: QueryError | null }>({ data: null, error: null });
  let stats = $state.raw<{ data: ScopedStats[] | null; error: QueryError | null }>({ data: null, error: null });
  let picked = $state.raw<string[] | null>(null);
  let view = $state.raw<Window | null>(null);
  let resolution: number | null = null;
  let generation = 0;
  const everyScope = new Set<string>();

  const sub = $derived(job ? subClusterOf(app.page.clusters, job.cluster, job.subCluster) : null);
  const metrics = $derived(picked ?? metricList(app.settings, "metricConfig_jobViewPlotMetrics", job?.cluster, job?.subCluster));
  const table = $derived(metricList(app.settings, "metricConfig_jobViewTableMetrics", job?.cluster, job?.subCluster));
  const scopesFor = (j: Job, names: string[]): Scope[] =>
    firstScopes(
      j,
      names.map((m) => configOf(sub, m)?.scope ?? "node"),
    );

  const group = (list: NamedMetric[]) => {
    const out = new Map<string, NamedMetric[]>();
    for (const m of list) out.set(m.name, [...(out.get(m.name) ?? []), m]);
    return out;
  };

  async function fetched(j: Job, names: string[], scopes: Scope[]): Promise<NamedMetric[]> {
    return names.length ? jobMetrics(app.ask, j.id, names, scopes, resolution) : [];
  }

  /** Curves of these metrics; an answer that a newer request has overtaken is dropped. */
  async function plots(j: Job, names: string[]): Promise<void> {
    const mine = ++generation;
    plotsBusy = true;
    const few = names.filter((n) => !everyScope.has(n));
    const all = names.filter((n) => everyScope.has(n));
    const r = await attempt(Promise.all([fetched(j, few, scopesFor(j, few)), fetched(j, all, ALL_SCOPES)]));
    if (mine !== generation) return;
    plotsError = r.error;
    if (r.value) loaded = new Map([...loaded, ...names.map((n) => [n, [] as NamedMetric[]] as const), ...group(r.value.flat())]);
    plotsBusy = false;
  }

  async function refresh(): Promise<void> {
    busy = true;
    try {
      const found = await loadJob(app.ask, id);
      gone = found == null;
      job = found ?? job;
      error = null;
      updated = app.now();
    } catch (e) {
      error = errorOf(e);
    }
    busy = false;
    if (!job || gone) return;
    const j = job;
    const footprint = sub?.footprint ?? [];
    await Promise.all([
      plots(j, metrics),
      attempt(jobMetrics(app.ask, id, ["flops_any", "mem_bw"], ["node"], 0)).then(
        (r) => (roof = { data: r.value ?? roof.data, error: r.error }),
      ),
      attempt(
        jobStatistics(app.ask, id, [...new Set([...footprint, ...metrics, ...table])], scopesFor(j, [...footprint, ...metrics, ...table])),
      ).then((r) => (stats = { data: r.value ?? stats.data, error: r.error })),
    ]);
  }

  /** A zoom may ask for finer data once; the old curves stay on screen meanwhile. */
  async function zoom(w: Window | null): Promise<void> {
    view = w;
    const step = Math.max(0, ...[...loaded.values()].flat().map((m) => m.metric.timestep));
    const wanted = w && step ? zoomResolution(Math.round((w.max - w.min) / step), step, app.page.resampling) : null;
    if (!wanted || !job) return;
    resolution = wanted;
    await plots(job, metrics);
  }

  return {
    get job() {
      return job;
    },
    get error() {
      return error;
    },
    get gone() {
      return gone;
    },
    get busy() {
      return busy;
    },
    get updated() {
      return updated;
    },
    get loaded() {
      return loaded;
    },
    get plotsBusy() {
      return plotsBusy;
    },
    get plotsError() {
      return plotsError;
    },
    get roof() {
      return roof;
    },
    get stats() {
      return stats;
    },
    get sub() {
      return sub;
    },
    get metrics() {
      return metrics;
    },
    get table() {
      return table;
    },
    get view() {
      return view;
    },
    set view(w) {
      view = w;
    },
    refresh,
    zoom,
    pick: (names: string[]) => {
      picked = names;
      return job ? plots(job, names) : Promise.resolve();
    },
    retry: () => (job ? plots(job, metrics) : refresh()),
    /** "Load all…": from now on this metric comes at every scope, after a refresh too */
    allScopes: (metric: string) => {
      everyScope.add(metric);
      return job ? plots(job, metrics) : Promise.resolve();
    },
  };
}
export type JobView = ReturnType<typeof createJobView>;
