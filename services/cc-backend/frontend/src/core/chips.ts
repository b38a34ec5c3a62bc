import { type Filters, NAMED_RANGES, type Range, SHARED_WORDS } from "./filters";
import { num } from "./numbers";
import type { Clock } from "./times";

/** A chip in words, and the filters without it. */
export interface ChipText {
  key: string;
  label: string;
  value: string;
  without: Filters;
}

const hm = (s: number): string => `${Math.floor(s / 3600)}:${String(Math.floor(s / 60) % 60).padStart(2, "0")} h`;
const rangeText = (r: Range, say: (n: number) => string, less = "≤"): string =>
  r.from != null && r.to != null ? `${say(r.from)} – ${say(r.to)}` : r.to != null ? `${less} ${say(r.to)}` : `≥ ${say(r.from ?? 0)}`;

/** One chip per active filter, none hidden (web-ui 7.1, PITFALL pills). */
export function chips(f: Filters, clock: Clock, now: number, tagName: (id: string) => string): ChipText[] {
  const out: ChipText[] = [];
  const add = (key: string, label: string, value: string, without: Partial<Filters>) =>
    out.push({ key, label, value, without: { ...f, ...without } });
  if (f.cluster) add("cluster", "Cluster", f.cluster, { cluster: undefined, subCluster: undefined, partition: undefined });
  if (f.subCluster) add("subCluster", "Subcluster", f.subCluster, { subCluster: undefined });
  if (f.partition) add("partition", "Partition", f.partition, { partition: undefined });
  if (f.state.length) add("state", "State", f.state.map((s) => s.replaceAll("_", " ")).join(", "), { state: [] });
  if (f.shared) add("shared", "Resources", SHARED_WORDS[f.shared] ?? f.shared, { shared: undefined });
  if (f.schedule) add("schedule", "Processing", f.schedule, { schedule: undefined });
  if (f.startTime) {
    const s = f.startTime;
    const at = (t: number) => clock.stamp(t, now);
    const said =
      "range" in s
        ? (NAMED_RANGES[s.range] ?? s.range)
        : s.from && s.to
          ? `${at(s.from)} – ${at(s.to)}`
          : s.from
            ? `from ${at(s.from)}`
            : `until ${at(s.to ?? 0)}`;
    add("startTime", "Job Start", said, { startTime: undefined });
  }
  if (f.duration) add("duration", "Duration", rangeText(f.duration, hm, "<"), { duration: undefined });
  f.tag.forEach((id) => add(`tag${id}`, "Tag", tagName(id), { tag: f.tag.filter((t) => t !== id) }));
  if (f.numNodes) add("numNodes", "Nodes", rangeText(f.numNodes, num), { numNodes: undefined });
  if (f.numHWThreads) add("numHWThreads", "Threads", rangeText(f.numHWThreads, num), { numHWThreads: undefined });
  if (f.numAccelerators) add("numAccelerators", "Accelerators", rangeText(f.numAccelerators, num), { numAccelerators: undefined });
  if (f.energy) add("energy", "Energy", `${rangeText(f.energy, num)} kWh`, { energy: undefined });
  if (f.node) add("node", "Node", f.nodeMatch === "contains" ? `contains ${f.node}` : f.node, { node: undefined, nodeMatch: "eq" });
  f.stat.forEach((s, i) => add(`stat${i}`, s.name, rangeText(s, num), { stat: f.stat.filter((_, k) => k !== i) }));
  if (f.project)
    add("project", "Project", f.projectMatch === "contains" ? `contains ${f.project}` : f.project, {
      project: undefined,
      projectMatch: "eq",
    });
  if (f.user.length)
    add("user", "User", f.user.length === 1 && f.userMatch === "contains" ? `contains ${f.user[0]}` : f.user.join(", "), {
      user: [],
      userMatch: "contains",
    });
  if (f.jobName) add("jobName", "Job name", `contains ${f.jobName}`, { jobName: undefined });
  if (f.jobId.length) add("jobId", "Job id", f.jobId.join(", "), { jobId: [] });
  if (f.arrayJobId) add("arrayJobId", "Array job", String(f.arrayJobId), { arrayJobId: undefined });
  if (f.dbId.length) add("dbId", "Selection", `${f.dbId.length} ${f.dbId.length === 1 ? "job" : "jobs"}`, { dbId: [] });
  return out;
}
