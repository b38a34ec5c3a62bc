import { describe, expect, test } from "vitest";
import { footprintThresholds, judgeFootprint, level, share, thresholdsAt, tint, unitsPerNode } from "../src/core/levels";
import type { Job, MetricConfig, SubCluster, Thresholds } from "../src/core/types";

const higher: Thresholds = { peak: 100, normal: 80, caution: 50, alert: 20, lowerIsBetter: false };
const lower: Thresholds = { peak: 100, normal: 20, caution: 50, alert: 80, lowerIsBetter: true };
const config = (c: Partial<MetricConfig>): MetricConfig => ({
  name: "m",
  unit: { base: "" },
  scope: "node",
  aggregation: "sum",
  timestep: 60,
  peak: 100,
  normal: 80,
  caution: 50,
  alert: 20,
  lowerIsBetter: false,
  ...c,
});
const unit = { unit: { base: "F/s", prefix: "G" }, value: 1 };
const sub: SubCluster = {
  name: "main",
  nodes: "n[1-4]",
  processorType: "",
  socketsPerNode: 2,
  coresPerSocket: 16,
  threadsPerCore: 2,
  flopRateScalar: unit,
  flopRateSimd: unit,
  memoryBandwidth: unit,
  topology: { memoryDomain: [[0], [1], [2], [3]], accelerators: [{ id: "a" }, { id: "b" }, { id: "c" }, { id: "d" }] },
  metricConfig: [
    config({ name: "flops", peak: 400, normal: 320, caution: 200, alert: 80 }),
    config({ name: "load", aggregation: "avg" }),
    config({ name: "power", lowerIsBetter: true, caution: 50, alert: 80 }),
  ],
  footprint: ["flops", "load"],
};
const job = (j: Partial<Job>): Job => ({ shared: "none", numHWThreads: 64, numAcc: 0, numNodes: 1, footprint: [], ...j }) as Job;

describe("footprint levels (web-ui 9.3)", () => {
  test.each([
    [0, "alert"],
    [20, "alert"],
    [20.1, "caution"],
    [50, "caution"],
    [50.1, "ok"],
    [80, "ok"],
    [81, "info"],
    [100, "info"],
    [101, "error"],
    [-1, "error"],
    [Number.NaN, "error"],
  ])("higher is better: %s", (v, l) => expect(level(higher, v)).toBe(l));
  test.each([
    [0, "ok"],
    [49, "ok"],
    [50, "caution"],
    [79, "caution"],
    [80, "alert"],
    [100, "alert"],
    [101, "error"],
    [-1, "error"],
  ])("lower is better: %s", (v, l) => expect(level(lower, v)).toBe(l));
  test("without thresholds or value", () => expect([level(null, 5), level(higher, null)]).toEqual(["none", "none"]));
});

// Both limits zero: none is configured. Read as numbers they would make every value of a lower-is-better metric an alert.
describe("without limits", () => {
  const none: Thresholds = { ...higher, alert: 0, caution: 0 };
  test.each([
    [0, false, "ok"],
    [80, false, "ok"],
    [81, false, "info"],
    [101, false, "error"],
    [-1, false, "error"],
    [0, true, "ok"],
    [99, true, "ok"],
  ])("%s, lower is better: %s", (v, lowerIsBetter, l) => {
    expect(level({ ...none, lowerIsBetter }, v)).toBe(l);
    expect(tint({ ...none, lowerIsBetter }, v)).toBeNull();
  });
  test("without a peak nothing is beyond it", () => expect(level({ ...none, peak: 0 }, 1000)).toBe("info"));
  test("one limit is a limit", () => expect(level({ ...higher, alert: 0 }, 0)).toBe("alert"));
});

describe("ground of a plot (web-ui 9.2)", () => {
  test.each([
    [20, "alert"],
    [50, "caution"],
    [51, null],
  ])("alert below caution: %s", (v, t) => expect(tint(higher, v)).toBe(t));
  test.each([
    [80, "alert"],
    [50, "caution"],
    [49, null],
  ])("alert above caution: %s", (v, t) => expect(tint({ ...lower, lowerIsBetter: false }, v)).toBe(t));
  test("nothing to say", () => expect([tint(null, 5), tint(higher, null)]).toEqual([null, null]));
});

test("units of a node", () =>
  expect((["node", "socket", "memoryDomain", "core", "hwthread", "accelerator"] as const).map((s) => unitsPerNode(sub, s))).toEqual([
    1, 2, 4, 32, 64, 4,
  ]));

// web-ui 15, check 16: a summed metric at socket scope with 2 sockets has half of the node threshold
test("thresholds at a scope", () => {
  expect(thresholdsAt(config({}), sub, "socket")?.normal).toBe(40);
  expect(thresholdsAt(config({}), sub, "node")?.normal).toBe(80);
  expect(thresholdsAt(config({ aggregation: "avg" }), sub, "core")?.normal).toBe(80);
});
// web-ui 9.2, PITFALL: no aggregation or no configuration must not break the plot
test("no thresholds without aggregation, configuration or topology", () => {
  expect(thresholdsAt(config({ aggregation: "" }), sub, "node")).toBeNull();
  expect(thresholdsAt(null, sub, "node")).toBeNull();
  expect(thresholdsAt(config({}), null, "core")).toBeNull();
  expect(thresholdsAt(config({ peak: 0, normal: 0, caution: 0, alert: 0 }), sub, "node")).toBeNull();
});

test("share of a shared node", () => {
  expect(share(job({ shared: "multi_user", numHWThreads: 16 }), sub, "node")).toBe(0.25);
  expect(share(job({ shared: "multi_user", numAcc: 1 }), sub, "accelerator")).toBe(0.25);
  expect(share(job({ numHWThreads: 16 }), sub, "node")).toBe(1);
  expect(footprintThresholds(config({}), sub, job({ shared: "multi_user", numHWThreads: 16 }))?.normal).toBe(20);
  expect(footprintThresholds(config({ aggregation: "avg" }), sub, job({ shared: "multi_user", numHWThreads: 16 }))?.normal).toBe(80);
});

// web-ui 9.3, PITFALL: the worst comes first
test("footprints are sorted, alert first, then by name", () => {
  const values = [
    ["load", 90],
    ["flops", 10],
    ["unknown", 1],
    ["power", 90],
  ] as const;
  const judged = judgeFootprint(job({ footprint: values.map(([name, value]) => ({ name, stat: "avg", value })) }), sub);
  expect(judged.map((f) => `${f.name} ${f.level}`)).toEqual(["flops alert", "power alert", "load info", "unknown none"]);
});
