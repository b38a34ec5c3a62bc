import type { Job, NamedMetric, ScopedStats } from "../core/types";
import { type Ask, type QueryError, errorOf } from "./graphql";

const JOB = `id jobId user project cluster subCluster partition startTime duration walltime numNodes numHWThreads numAcc SMT
  energy shared arrayJobId monitoringStatus state tags { id type name scope } resources { hostname hwthreads accelerators }
  footprint { name stat value } metaData userData { username name email }`;
const METRIC = `name scope metric { unit { base prefix } timestep
  series { hostname id statistics { avg min max } data } statisticsSeries { min median mean max } }`;

export interface Order {
  field: string;
  type: "col" | "foot";
  order: "ASC" | "DESC";
}
export interface JobPage {
  items: Job[];
  count: number;
  hasNextPage: boolean;
}

export async function findJobs(
  ask: Ask,
  filter: object[],
  order: Order,
  page: number,
  itemsPerPage: number,
  signal?: AbortSignal,
): Promise<JobPage> {
  const q = `query($filter: [JobFilter!], $order: OrderByInput, $page: PageRequest) {
    jobs(filter: $filter, order: $order, page: $page) { count hasNextPage items { ${JOB} } } }`;
  const { jobs } = await ask<{ jobs: { items: Job[]; count: number | null; hasNextPage: boolean | null } }>(
    q,
    { filter, order, page: { itemsPerPage, page } },
    signal,
  );
  return { items: jobs.items, count: jobs.count ?? jobs.items.length, hasNextPage: jobs.hasNextPage ?? false };
}

export interface RowMetrics {
  metrics: NamedMetric[];
  error: string | null;
}

/** Curves of all these jobs in one request; `points` is what a cell can draw. */
export async function rowMetrics(
  ask: Ask,
  ids: number[],
  metrics: string[],
  points: number,
  signal?: AbortSignal,
): Promise<Map<number, RowMetrics>> {
  if (!ids.length || !metrics.length) return new Map();
  const q = `query($ids: [ID!]!, $metrics: [String!], $points: Int) {
    jobsMetrics(ids: $ids, metrics: $metrics, points: $points) { id error metrics { ${METRIC} } } }`;
  const { jobsMetrics } = await ask<{ jobsMetrics: (RowMetrics & { id: number | string })[] }>(q, { ids, metrics, points }, signal);
  return new Map(jobsMetrics.map((r) => [Number(r.id), { metrics: r.metrics, error: r.error }]));
}

export async function loadJob(ask: Ask, id: number): Promise<Job | null> {
  const { job } = await ask<{ job: Job | null }>(`query($id: ID!) { job(id: $id) { ${JOB} energyFootprint { hardware metric value } } }`, {
    id,
  });
  return job;
}

export async function jobMetrics(
  ask: Ask,
  id: number,
  metrics: string[],
  scopes: string[],
  resolution?: number | null,
  signal?: AbortSignal,
): Promise<NamedMetric[]> {
  const q = `query($id: ID!, $metrics: [String!], $scopes: [MetricScope!], $resolution: Int) {
    jobMetrics(id: $id, metrics: $metrics, scopes: $scopes, resolution: $resolution) { ${METRIC} } }`;
  return (await ask<{ jobMetrics: NamedMetric[] }>(q, { id, metrics, scopes, resolution: resolution ?? null }, signal)).jobMetrics;
}

export async function jobStatistics(ask: Ask, id: number, metrics: string[], scopes: string[]): Promise<ScopedStats[]> {
  const q = `query($id: ID!, $metrics: [String!], $scopes: [MetricScope!]) {
    scopedJobStats(id: $id, metrics: $metrics, scopes: $scopes) { name scope stats { hostname id data { avg min max } } } }`;
  return (await ask<{ scopedJobStats: ScopedStats[] }>(q, { id, metrics, scopes })).scopedJobStats;
}

/** Numbers of running and of all visible jobs per cluster, in one request. */
export async function clusterCounts(ask: Ask, names: string[]): Promise<{ running: number; total: number }[]> {
  if (!names.length) return [];
  const page = "page: { itemsPerPage: 1, page: 1 }";
  const parts = names.map(
    (_, i) => `r${i}: jobs(filter: [{ cluster: { eq: $c${i} } }, { state: ["running"] }], ${page}) { count }
    t${i}: jobs(filter: [{ cluster: { eq: $c${i} } }], ${page}) { count }`,
  );
  const data = await ask<Record<string, { count: number | null }>>(
    `query(${names.map((_, i) => `$c${i}: String!`).join(", ")}) { ${parts.join("\n")} }`,
    Object.fromEntries(names.map((n, i) => [`c${i}`, n])),
  );
  return names.map((_, i) => ({ running: data[`r${i}`]?.count ?? 0, total: data[`t${i}`]?.count ?? 0 }));
}

/** A value, or why it is not there: parts of a page fail on their own. */
export async function attempt<T>(p: Promise<T>): Promise<{ value: T; error: null } | { value: null; error: QueryError }> {
  try {
    return { value: await p, error: null };
  } catch (e) {
    return { value: null, error: errorOf(e) };
  }
}
