import { type Filters, graphqlFilters } from "../core/filters";
import type { Order } from "../core/sorting";
import type { Job } from "../core/types";
import { type QueryError, aborted, errorOf } from "../data/graphql";
import { type RowMetrics, findJobs, rowMetrics } from "../data/jobs";
import type { App } from "./app.svelte";

export interface ListQuery {
  filters: Filters;
  fixed: object[];
  order: Order;
  metrics: string[];
  paging: boolean;
  page: number;
  perPage: number;
  points: number;
}
/** Continuous scroll grows by pages of this many rows. */
export const SCROLL_ROWS = 10;
/** The API answers for at most so many rows at once. */
const MOST_IDS = 100;

/** The list of jobs with the curves of its rows. What is shown stays until the new answer is there. */
export function createJobList(app: App) {
  let items = $state.raw<Job[]>([]);
  let rows = $state.raw(new Map<number, RowMetrics>());
  let count = $state<number | null>(null);
  let more = $state(false);
  let busy = $state(false);
  let waiting = $state.raw(new Set<number>());
  let error = $state.raw<QueryError | null>(null);
  let updated = $state<number | null>(null);
  // A new query ends everything before it; the next page of a scroll does not end the curves of the pages before.
  let running = new AbortController();
  let last: ListQuery | null = null;

  async function curves(q: ListQuery, jobs: Job[], signal: AbortSignal): Promise<void> {
    waiting = new Set([...waiting, ...jobs.map((j) => j.id)]);
    for (let i = 0; i < jobs.length; i += MOST_IDS) {
      const ids = jobs.slice(i, i + MOST_IDS).map((j) => j.id);
      try {
        const found = await rowMetrics(app.ask, ids, q.metrics, q.points, signal);
        rows = new Map([...rows, ...found]);
      } catch (e) {
        if (aborted(e)) return;
        const failed: RowMetrics = { metrics: [], error: errorOf(e).message };
        // Old curves are better than none: only rows without any show the failure.
        rows = new Map([...rows, ...ids.filter((id) => !rows.get(id)?.metrics.length).map((id) => [id, failed] as const)]);
      }
      waiting = new Set([...waiting].filter((id) => !ids.includes(id)));
    }
  }

  /** One request for the list, one for the curves. `keep`: refresh, curves of ended jobs stay. `next`: continuous scroll. */
  async function load(q: ListQuery, how: "fresh" | "keep" | "next"): Promise<void> {
    if (how !== "next") {
      running.abort();
      running = new AbortController();
      waiting = new Set();
    }
    const { signal } = running;
    last = q;
    busy = true;
    const loaded = Math.max(SCROLL_ROWS, Math.ceil(items.length / SCROLL_ROWS) * SCROLL_ROWS);
    const page = how === "next" ? Math.floor(items.length / SCROLL_ROWS) + 1 : q.paging ? q.page : 1;
    const size = q.paging ? q.perPage : how === "keep" ? loaded : SCROLL_ROWS;
    try {
      const found = await findJobs(
        app.ask,
        [...q.fixed, ...graphqlFilters(q.filters)],
        q.order,
        page,
        how === "next" ? SCROLL_ROWS : size,
        signal,
      );
      const known = new Set(items.map((j) => j.id));
      items = how === "next" ? [...items, ...found.items.filter((j) => !known.has(j.id))] : found.items;
      count = found.count;
      more = !q.paging && found.hasNextPage;
      error = null;
      updated = app.now();
      busy = false;
      if (how === "fresh") rows = new Map();
      const wanted = found.items.filter(
        (j) => how === "fresh" || !rows.has(j.id) || j.state === "running" || j.monitoringStatus === 1 || rows.get(j.id)?.error,
      );
      await curves(q, wanted, signal);
    } catch (e) {
      if (aborted(e)) return;
      error = errorOf(e);
      busy = false;
    }
  }

  return {
    get items() {
      return items;
    },
    get rows() {
      return rows;
    },
    get count() {
      return count;
    },
    get more() {
      return more;
    },
    get busy() {
      return busy;
    },
    get waiting() {
      return waiting;
    },
    get error() {
      return error;
    },
    get updated() {
      return updated;
    },
    load: (q: ListQuery) => load(q, "fresh"),
    refresh: () => (last ? load(last, "keep") : Promise.resolve()),
    next: () => (last && more && !busy ? load(last, "next") : Promise.resolve()),
  };
}
