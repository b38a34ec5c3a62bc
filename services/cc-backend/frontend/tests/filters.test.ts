import { describe, expect, test } from "vitest";
import { chips } from "../src/core/chips";
import { NO_FILTERS, graphqlFilters, paramsOf, readFilters, writeFilters } from "../src/core/filters";
import { NEWEST_FIRST, readOrder, toggled, writeOrder } from "../src/core/sorting";
import { clockFor } from "../src/core/times";

const read = (q: string) => readFilters(paramsOf(q));

// web-ui 14.5 and 15 check 9: lossless round trip through the address
describe("every filter survives the address", () => {
  test.each([
    "cluster=alpha&subCluster=main&partition=work",
    "state=running&state=failed",
    "shared=multi_user&schedule=batch",
    "startTime=last7d",
    "startTime=1700000000-1700003600",
    "duration=lessthan-300",
    "duration=morethan-300",
    "duration=300-7200",
    "tag=3&tag=14",
    "numNodes=2-8",
    "numHWThreads=morethan-64",
    "numAccelerators=lessthan-4",
    "energy=0.1-5",
    "node=n0&nodeMatch=contains",
    "node=n01&nodeMatch=eq",
    "stat=flops_any_avg-0.5-12.25",
    "stat=mem-bw_avg-lessthan-3",
    "project=p1&projectMatch=eq",
    "project=p&projectMatch=contains",
    "user=ali&userMatch=contains",
    "user=alice&userMatch=eq",
    "user=alice&user=bob&userMatch=in",
    "jobName=a%26b%23c",
    "jobId=12&jobId=13",
    "arrayJobId=77",
    "dbId=1&dbId=2",
  ])("%s", (q) => expect(new URLSearchParams(writeFilters(read(q))).toString()).toBe(new URLSearchParams(q).toString()));
});

test("malformed values are left out and break nothing", () => {
  expect(read("startTime=bogus&duration=x&arrayJobId=z&tag=q&numNodes=-3&stat=nonsense&dbId=x")).toEqual(NO_FILTERS);
});
test("old links without match parameters keep their meaning", () => {
  expect(graphqlFilters(read("project=p1&user=ali&node=n1"))).toEqual([
    { project: { eq: "p1" } },
    { user: { contains: "ali" } },
    { node: { eq: "n1" } },
  ]);
  expect(graphqlFilters(read("user=a&user=b"))).toEqual([{ user: { in: ["a", "b"] } }]);
});
// web-ui 7.1, PITFALL: no job of exactly the limit is in both halves
test("short jobs and the others are complementary", () => {
  expect(graphqlFilters(read("duration=lessthan-300"))).toEqual([{ duration: { from: 0, to: 299 } }]);
  expect(graphqlFilters(read("duration=morethan-300"))).toEqual([{ duration: { from: 300, to: 0 } }]);
});
test("decimals and open ends", () => {
  expect(graphqlFilters(read("energy=0.1-5&stat=f_avg-morethan-0.25"))).toEqual([
    { energy: { from: 0.1, to: 5 } },
    { metricStats: [{ metricName: "f_avg", range: { from: 0.25, to: 0 } }] },
  ]);
});
test("start time", () => {
  expect(graphqlFilters(read("startTime=last24h"))).toEqual([{ startTime: { range: "last24h" } }]);
  expect(graphqlFilters(read("startTime=1700000000-0"))).toEqual([{ startTime: { from: "2023-11-14T22:13:20Z" } }]);
});

// web-ui 7.1, PITFALL: user, project, jobId and the like had no pill
test("every active filter has a chip that removes just it", () => {
  const f = read(
    "cluster=a&state=running&duration=morethan-600&user=bob&project=p1&jobId=7&arrayJobId=8&dbId=9&jobName=x&node=n1&tag=3&stat=f_avg-1-2&numNodes=2-4",
  );
  const all = chips(f, clockFor("UTC"), 1700000000, (id) => `tag ${id}`);
  expect(all).toHaveLength(13);
  expect(all.find((c) => c.key === "duration")?.value).toBe("≥ 0:10 h");
  for (const c of all) expect(chips(c.without, clockFor("UTC"), 1700000000, (id) => id)).toHaveLength(12);
});

test("sorting in the address", () => {
  const choices = [
    { field: "startTime", type: "col" as const },
    { field: "flops_any_avg", type: "foot" as const },
  ];
  const o = toggled(NEWEST_FIRST, "flops_any_avg", "foot");
  expect(o.order).toBe("DESC");
  expect(toggled(o, "flops_any_avg", "foot").order).toBe("ASC");
  expect(readOrder(writeOrder(o) ?? "", choices)).toEqual(o);
  expect([writeOrder(NEWEST_FIRST), readOrder("evil-desc", choices)]).toEqual([null, NEWEST_FIRST]);
});
