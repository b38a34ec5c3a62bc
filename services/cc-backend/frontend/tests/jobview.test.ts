import { expect, test, vi } from "vitest";
import type { NamedMetric } from "../src/core/types";
import type { App } from "../src/state/app.svelte";
import { createJobView, firstScopes } from "../src/state/jobview.svelte";

const job = { id: 7, jobId: 70, cluster: "c", subCluster: "s", numNodes: 4, numAcc: 0, resources: [], state: "running" };
const named = (name: string, scope: string, timestep: number) =>
  ({ name, scope, metric: { timestep, series: [], unit: null } }) as unknown as NamedMetric;

function app(answer: (text: string, v: Record<string, unknown>) => unknown) {
  const ask = vi.fn(async (text: string, v: Record<string, unknown> = {}) => answer(text, v));
  const page = { clusters: [], resampling: { trigger: 30, resolutions: [240, 60] } };
  return { ask, app: { ask, now: () => 1, page, settings: { metricConfig_jobViewPlotMetrics: ["load"] } } as unknown as App };
}
const whole = (text: string, v: Record<string, unknown>) =>
  text.includes("job(id")
    ? { job }
    : text.includes("jobMetrics(")
      ? { jobMetrics: [named("load", "node", (v.resolution as number) || 240)] }
      : { scopedJobStats: [] };

// web-ui 10.4: scopes of the first request
test("scopes of the first request", () => {
  const one = { ...job, numNodes: 1, numAcc: 2 } as never;
  expect(firstScopes(job as never, ["core"])).toEqual(["node"]);
  expect(firstScopes(one, ["core"])).toEqual(["node", "socket", "core"]);
  expect(firstScopes(one, ["accelerator"])).toEqual(["node", "socket", "core", "accelerator"]);
});

// web-ui 15, check 17: one zoom, one request with the finer resolution, the window is kept
test("a zoom asks once for finer data and keeps the window", async () => {
  const s = app(whole);
  const view = createJobView(s.app, 7);
  await view.refresh();
  const before = s.ask.mock.calls.length;
  await view.zoom({ min: 0, max: 2400 });
  expect(s.ask.mock.calls.length - before).toBe(1);
  expect(s.ask.mock.calls.at(-1)?.[1]?.resolution).toBe(60);
  expect(view.view).toEqual({ min: 0, max: 2400 });
  await view.zoom({ min: 0, max: 86400 });
  expect(s.ask.mock.calls.length - before).toBe(1);
});

test("a scope that was asked for stays after a refresh", async () => {
  const s = app(whole);
  const view = createJobView(s.app, 7);
  await view.refresh();
  await view.allScopes("load");
  await view.refresh();
  const scopes = s.ask.mock.calls
    .filter(([t, v]) => t.includes("jobMetrics(") && v?.resolution !== 0)
    .map(([, v]) => (v?.scopes as string[]).length);
  expect(scopes).toEqual([1, 4, 4]);
});

// web-ui 14.3: a missing part costs the others nothing; graphql 7.2: unknown and invisible jobs look alike
test("parts fail on their own, and an unknown job is said to be none", async () => {
  const s = app((t, v) => {
    if (t.includes("scopedJobStats(")) throw new Error("no statistics");
    return whole(t, v);
  });
  const view = createJobView(s.app, 7);
  await view.refresh();
  expect([view.stats.error?.message, view.plotsError, view.loaded.size]).toEqual(["no statistics", null, 1]);
  const gone = createJobView(app(() => ({ job: null })).app, 8);
  await gone.refresh();
  expect([gone.gone, gone.job, gone.error]).toEqual([true, null, null]);
});
