import { describe, expect, test } from "vitest";
import { timeLabels, timeStep, timeTicks, yRange } from "../src/core/ticks";
import { clockFor } from "../src/core/times";

const utc = clockFor("UTC");

describe("time axis", () => {
  test("steps come from the list and labels are at least 64 px apart", () => {
    expect(timeStep(86400, 320)).toBe(21600);
    expect(timeStep(14400, 320)).toBe(3600);
    expect(timeStep(600, 700)).toBe(60);
    expect(timeStep(90 * 86400, 320)).toBe(1814400);
  });
  test("first label is zero and none is closer than 26 px to the right end", () => {
    expect(timeTicks(0, 86400, 320)).toEqual([0, 21600, 43200, 64800]);
    const width = 400;
    for (const t of timeTicks(0, 86525, width)) expect(((86525 - t) / 86525) * width).toBeGreaterThan(26);
  });
  test("back from now keeps its zero at the end", () => expect(timeTicks(-14400, 0, 320)).toEqual([-14400, -10800, -7200, -3600, 0]));
  test("clock mode follows the local day", () => expect(timeTicks(82800, 169200, 320, 3600)).toEqual([82800, 104400, 126000, 147600]));
  test("nothing to draw on", () => expect([timeTicks(0, 0, 300), timeTicks(0, 100, 0)]).toEqual([[], []]));
  test("labels in the three modes", () => {
    expect(timeLabels([0, 21600], "job", 21600, utc)).toEqual(["0", "6 h"]);
    expect(timeLabels([-3600, 0], "back", 3600, utc)).toEqual(["−1 h", "now"]);
    const midnight = Date.UTC(2023, 10, 15) / 1000;
    expect(timeLabels([midnight - 3600, midnight], "clock", 3600, utc)).toEqual(["23:00", "15 Nov"]);
  });
});

describe("value axis (web-ui 9.2)", () => {
  const t = { peak: 100, normal: 80, caution: 50, alert: 20, lowerIsBetter: false };
  test("normal is in sight", () => expect(yRange(t, 10)[1]).toBeCloseTo(88));
  test("data are in sight", () => expect(yRange(t, 200)[1]).toBeCloseTo(220));
  test("far outliers are cut at ten times the peak", () => expect(yRange(t, 5000)[1]).toBeCloseTo(1100));
  test("no thresholds, no data", () =>
    expect([yRange(null, 5)[1], yRange(null, Number.NaN), yRange(null, 0)]).toEqual([5.5, [0, 1], [0, 1]]));
});

test("a small plot of a short job has a label beside zero", () => {
  expect(timeTicks(0, 80, 96)).toEqual([0]);
  expect(timeTicks(0, 80, 96, 0, true)).toEqual([0, 30]);
  expect(timeTicks(0, 80, 70, 0, true)).toEqual([0]);
  expect(timeTicks(0, 80, 250, 0, true)).toEqual([0, 30, 60]);
});
