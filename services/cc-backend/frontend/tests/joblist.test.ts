import { expect, test, vi } from "vitest";
import { NO_FILTERS } from "../src/core/filters";
import { NEWEST_FIRST } from "../src/core/sorting";
import type { App } from "../src/state/app.svelte";
import { createJobList } from "../src/state/joblist.svelte";

interface Row {
  id: number;
  state: string;
  monitoringStatus: number;
}
const query = { filters: NO_FILTERS, fixed: [], order: NEWEST_FIRST, metrics: ["load"], paging: false, page: 1, perPage: 10, points: 100 };

/** A server that knows `rows` and notes what was asked; curves wait until they are let go. */
function server(rows: Row[]) {
  const asked: { list: { page: number; itemsPerPage: number }[]; ids: number[][] } = { list: [], ids: [] };
  let release: (() => void)[] = [];
  const ask = vi.fn(async (text: string, v: Record<string, unknown> = {}, signal?: AbortSignal) => {
    if (text.includes("jobsMetrics(")) {
      asked.ids.push(v.ids as number[]);
      await new Promise<void>((go, stop) => {
        release.push(go);
        signal?.addEventListener("abort", () => stop(new DOMException("stopped", "AbortError")));
      });
      return {
        jobsMetrics: (v.ids as number[]).map((id) => ({
          id: String(id),
          error: id === 3 ? "no data" : null,
          metrics: id === 3 ? [] : [{ name: "load" }],
        })),
      };
    }
    const page = v.page as { page: number; itemsPerPage: number };
    asked.list.push(page);
    const start = (page.page - 1) * page.itemsPerPage;
    return {
      jobs: {
        items: rows.slice(start, start + page.itemsPerPage),
        count: rows.length,
        hasNextPage: rows.length > start + page.itemsPerPage,
      },
    };
  });
  return {
    asked,
    app: { ask, now: () => 1000 } as unknown as App,
    letGo: () => {
      for (const go of release) go();
      release = [];
    },
  };
}
const rows = (n: number, state = "completed"): Row[] => Array.from({ length: n }, (_, i) => ({ id: i + 1, state, monitoringStatus: 3 }));
const settle = () => new Promise((r) => setTimeout(r, 0));

// web-ui 8.6, PITFALL: no row twice, none skipped; 16.12: one request for the curves of all rows of a page
test("continuous scroll: all rows once, in order, and the next page does not end the curves of the first", async () => {
  const s = server(rows(25));
  const list = createJobList(s.app);
  void list.load(query);
  await settle();
  void list.next();
  await settle();
  s.letGo();
  await settle();
  void list.next();
  await settle();
  s.letGo();
  await settle();
  expect(list.items.map((j) => j.id)).toEqual(rows(25).map((j) => j.id));
  expect(s.asked.ids.map((x) => x.length)).toEqual([10, 10, 5]);
  expect([list.more, list.rows.size, list.waiting.size]).toEqual([false, 25, 0]);
});

// web-ui 14.2: refresh always asks again; curves of ended jobs are at hand already, those with an error are tried again
test("refresh keeps what is shown and asks for running jobs and failures only", async () => {
  const all = rows(5);
  const s = server(all);
  const list = createJobList(s.app);
  void list.load(query);
  await settle();
  s.letGo();
  await settle();
  all.unshift({ id: 99, state: "running", monitoringStatus: 1 });
  void list.refresh();
  expect(list.items).toHaveLength(5);
  await settle();
  expect(list.items[0]?.id).toBe(99);
  expect(list.rows.get(1)?.metrics).toHaveLength(1);
  expect(s.asked.ids.at(-1)).toEqual([99, 3]);
});

test("a failing list keeps the old rows and says so; a failing row costs the others nothing", async () => {
  const s = server(rows(3));
  const list = createJobList(s.app);
  void list.load(query);
  await settle();
  s.letGo();
  await settle();
  expect([list.rows.get(3)?.error, list.rows.get(1)?.error]).toEqual(["no data", null]);
  vi.mocked(s.app.ask).mockRejectedValueOnce(new Error("gone"));
  await list.refresh();
  expect([list.items.length, list.error?.message, list.busy]).toEqual([3, "gone", false]);
});

test("a new query ends the one before", async () => {
  const s = server(rows(30));
  const list = createJobList(s.app);
  void list.load(query);
  await settle();
  void list.load({ ...query, paging: true, page: 2, perPage: 25 });
  await settle();
  s.letGo();
  await settle();
  expect(list.items.map((j) => j.id)).toEqual([26, 27, 28, 29, 30]);
  expect([...list.rows.keys()]).toEqual([26, 27, 28, 29, 30]);
});
