import { describe, expect, test } from "vitest";
import { bandOf, curve, loneSamples, sentence, zoomResolution } from "../src/core/curve";
import { csv } from "../src/core/csv";
import { availability, finest, metricNames, missingPairs, natural } from "../src/core/metrics";
import { roofOf, roofPoints, roofTop } from "../src/core/roofline";
import { metricList, showFootprint } from "../src/core/settings";
import { command } from "../src/core/shortcuts";
import type { Cluster, Job, JobMetric, MetricConfig, NamedMetric, Scope, SubCluster } from "../src/core/types";

const config: MetricConfig = {
  name: "flops_any",
  unit: { base: "F/s", prefix: "G" },
  scope: "core",
  aggregation: "sum",
  timestep: 60,
  peak: 100,
  normal: 80,
  caution: 50,
  alert: 20,
  lowerIsBetter: false,
};
const rate = (value: number) => ({ unit: { base: "F/s", prefix: "G" }, value });
const sub = (name: string, metrics: string[]): SubCluster => ({
  name,
  nodes: "",
  processorType: "",
  socketsPerNode: 2,
  coresPerSocket: 4,
  threadsPerCore: 1,
  flopRateScalar: rate(100),
  flopRateSimd: rate(1600),
  memoryBandwidth: rate(200),
  topology: { memoryDomain: null, accelerators: null },
  metricConfig: metrics.map((m) => ({ ...config, name: m })),
  footprint: [],
});
const main = sub("main", ["flops_any", "mem_bw"]);
const clusters: Cluster[] = [{ name: "alpha", partitions: [], subClusters: [main, sub("gpu", ["flops_any", "acc"])] }];
const series = (hostname: string, data: (number | null)[], id: string | null = null) => ({ hostname, id, data, statistics: null });
const metric = (s: JobMetric["series"], more: Partial<JobMetric> = {}): JobMetric => ({ unit: null, timestep: 60, series: s, ...more });
const named = (name: string, scope: Scope, m: JobMetric): NamedMetric => ({ name, scope, metric: m });

describe("curves", () => {
  test("gaps stay gaps, short series end in gaps, statistics come from the data where they are missing", () => {
    const c = curve("flops_any", "node", metric([series("n1", [1, null, 3]), series("n2", [5])]), config, main);
    expect(c?.lines).toEqual([
      [1, null, 3],
      [5, null, null],
    ]);
    expect(c?.stat).toEqual({ avg: 3.5, min: 1, max: 5 });
    expect([c?.x, c?.top, c?.tint]).toEqual([[0, 60, 120], 5, "alert"]);
  });
  test("nothing to draw is null, not an empty plot", () => {
    expect(curve("m", "node", metric([]), config, main)).toBeNull();
    expect(curve("m", "node", metric([series("n1", [null, null])]), config, main)).toBeNull();
    expect(curve("m", "node", metric(null), null, null)).toBeNull();
  });
  // web-ui 9.2, PITFALL: the legend names hardware id and host
  test("names", () => {
    expect(curve("m", "core", metric([series("n1", [1], "7")]), config, main)?.names).toEqual(["core 7"]);
    expect(curve("m", "core", metric([series("n1", [1], "7"), series("n2", [1], "7")]), config, main)?.names).toEqual([
      "n1/core 7",
      "n2/core 7",
    ]);
    expect(curve("m", "node", metric([series("n1", [1])]), config, main)?.names).toEqual(["n1"]);
  });
  test("colour follows the entity when one host is picked", () => {
    expect(curve("m", "node", metric([series("n1", [1]), series("n2", [1])]), config, main, { host: "n2" })?.colours).toEqual([1]);
  });
  test("statistics series: median, or mean in old archives", () => {
    const stats = { min: [1], median: [2], mean: [], max: [3] };
    expect(curve("m", "node", metric([series("n1", [1])], { statisticsSeries: stats }), config, main, { statistics: true })).toMatchObject({
      lines: [[1], [2], [3]],
      names: ["min", "median", "max"],
    });
    const old = { min: [1], median: [], mean: [2.5], max: [3] };
    expect(curve("m", "node", metric([series("n1", [1])], { statisticsSeries: old }), config, main, { statistics: true })?.names).toEqual([
      "min",
      "mean",
      "max",
    ]);
  });
  test("a band over many lines leaves out missing values", () => {
    expect(
      bandOf([
        [1, 4],
        [3, null],
        [2, 6],
        [10, 5],
      ]),
    ).toMatchObject({ min: [1, 4], median: [2.5, 5], max: [10, 6] });
    expect(bandOf([[1], [2]])).toMatchObject({ min: [null], median: [null], max: [null] });
    const nine = Array.from({ length: 9 }, (_, i) => series("n1", [i], String(i)));
    expect(curve("m", "core", metric(nine), config, main, { statistics: true })).toMatchObject({
      kind: "statistics",
      lines: [[0], [4], [8]],
    });
    expect(curve("m", "core", metric(nine.slice(0, 7)), config, main, { statistics: true })?.kind).toBe("lines");
  });
  test("the sentence for those who do not see", () => {
    const c = curve("flops_any", "node", metric([series("n1", [90])]), config, main);
    expect(c && sentence(c, "job 1")).toBe("flops_any of job 1, node scope: mean 90\u202fGF/s, from 90\u202fGF/s to 90\u202fGF/s");
  });
});

// web-ui 15, check 17: 1200 points at 60 s come as 240 s; about 30 points in sight ask for 60 s once
describe("resolution after a zoom", () => {
  const r = { trigger: 30, resolutions: [240, 60] };
  test.each([
    [30, 240, null],
    [29, 240, null],
    [10, 240, 60],
    [31, 240, null],
    [10, 60, null],
  ])("%s points at %s s", (points, step, wanted) => expect(zoomResolution(points, step, r)).toBe(wanted));
  test("the first of two equally near ones", () => expect(zoomResolution(15, 600, { trigger: 30, resolutions: [400, 200, 60] })).toBe(400));
  test("without resampling", () => expect(zoomResolution(5, 240, null)).toBeNull());
});

test("availability tells four cases apart", () => {
  const of = (s: string, m: string) => availability(clusters, "alpha", s, m);
  expect([of("main", "mem_bw"), of("main", "acc"), of("main", "bogus"), of("", "mem_bw")]).toEqual([
    "configured",
    "disabled",
    "none",
    "outside",
  ]);
});
test("metric names and order of hosts", () => {
  expect(metricNames(clusters, "alpha", null)).toEqual(["acc", "flops_any", "mem_bw"]);
  expect(["n10", "n2"].sort(natural)).toEqual(["n2", "n10"]);
  expect(finest([named("m", "node", metric([])), named("m", "core", metric([]))])?.scope).toBe("core");
});
// web-ui 10.4, PITFALL: missing data are reported as real pairs of host and metric
test("missing pairs", () => {
  const job = { resources: [{ hostname: "n1" }, { hostname: "n2" }] } as Job;
  const loaded = new Map([
    ["a", [named("a", "node", metric([series("n1", [1])]))]],
    ["b", [named("b", "node", metric([series("n1", [1]), series("n2", [1])]))]],
  ]);
  expect(missingPairs(job, ["a", "b", "c"], loaded)).toEqual({ metrics: ["c"], hosts: [{ host: "n2", metrics: ["a"] }] });
});

// web-ui 15, check 22: flops_any 100 and mem_bw 50 give points at (2, 100)
test("roofline", () => {
  const p = roofPoints(
    named("flops_any", "node", metric([series("n1", [100, 100, null])])),
    named("mem_bw", "node", metric([series("n1", [50, 0, 50])])),
  );
  expect(p).toEqual([{ x: 2, y: 100, t: 0, host: "n1", at: 0 }]);
  expect(roofPoints(undefined, undefined)).toEqual([]);
  expect(roofOf(main)).toEqual({ bandwidth: 200, scalar: 100, simd: 1600 });
  expect([roofTop(roofOf(main), []), roofTop(null, [])]).toEqual([2000, 10000]);
});

test("metric list: subcluster, cluster, general; an empty list counts as chosen", () => {
  const s = { k: ["a"], "k:c": ["b"], "k:c:s": [], "k:d": "broken" };
  expect([
    metricList(s, "k"),
    metricList(s, "k", "c"),
    metricList(s, "k", "c", "s"),
    metricList(s, "k", "c", "t"),
    metricList(s, "k", "d"),
  ]).toEqual([["a"], ["b"], [], ["b"], ["a"]]);
});
// web-ui 6.3, PITFALL: the cluster key falls back to the general one
test("footprint column", () =>
  expect([
    showFootprint({ jobList_showFootprint: true }, "c"),
    showFootprint({ jobList_showFootprint: true, "jobList_showFootprint:c": false }, "c"),
  ]).toEqual([true, false]));

// web-ui 10.6, PITFALL: formula injection in CSV
test("csv", () =>
  expect(
    csv(
      ["a", "b"],
      [
        ["=1+1", 2],
        ['say "x"', null],
        [-1, "p,q"],
      ],
    ),
  ).toBe('a,b\n"\'=1+1",2\n"say ""x""",\n-1,"p,q"'));
test("keys", () =>
  expect([command("g", false), command("j", true), command("j", false), command("q", false), command("x", true)]).toEqual([
    "wait",
    "go-jobs",
    "next",
    null,
    null,
  ]));

test("samples that no line can show", () => {
  expect(loneSamples([5])).toEqual([0]);
  expect(loneSamples([null, 5, null, 6, 7, null, null, 0])).toEqual([1, 7]);
  expect(loneSamples([1, 2])).toEqual([]);
});

test("the server's band is drawn where the series came without data", () => {
  const stat = { avg: 1, min: 0, max: 2 };
  const series = Array.from({ length: 9 }, (_, i) => ({ hostname: "n1", id: String(i), statistics: stat, data: [] }));
  const m: JobMetric = {
    unit: null,
    timestep: 60,
    series,
    statisticsSeries: { min: [0, 0], median: [1, 1], mean: [], max: [2, 2] },
  };
  const c = curve("flops_any", "core", m, null, null, { statistics: true });
  expect([c?.kind, c?.lines, c?.stat]).toEqual([
    "statistics",
    [
      [0, 0],
      [1, 1],
      [2, 2],
    ],
    stat,
  ]);
});
