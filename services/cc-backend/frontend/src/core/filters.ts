import { rfc3339 } from "./times";

/** Open ends are undefined. Counts, seconds, kWh: the field says which. */
export interface Range {
  from?: number;
  to?: number;
}
export type StartTime = { range: string } | { from?: number; to?: number };
export interface StatRange extends Range {
  name: string;
}

/** Every filter of web-ui 7.1 and 7.2 in decoded form. Absent means no restriction. */
export interface Filters {
  dbId: string[];
  jobId: string[];
  arrayJobId?: number;
  jobName?: string;
  project?: string;
  projectMatch: Match;
  user: string[];
  userMatch: Match;
  cluster?: string;
  subCluster?: string;
  partition?: string;
  state: string[];
  shared?: string;
  schedule?: string;
  startTime?: StartTime;
  duration?: Range;
  tag: string[];
  numNodes?: Range;
  numHWThreads?: Range;
  numAccelerators?: Range;
  energy?: Range;
  node?: string;
  nodeMatch: Match;
  stat: StatRange[];
}
export type Match = "eq" | "contains";

export const NAMED_RANGES: Record<string, string> = {
  last6h: "Last 6 hours",
  last24h: "Last 24 hours",
  last7d: "Last 7 days",
  last30d: "Last 30 days",
};
export const SHARED_WORDS: Record<string, string> = { none: "exclusive", multi_user: "shared", single_user: "multitask" };

export const NO_FILTERS: Filters = {
  dbId: [],
  jobId: [],
  projectMatch: "eq",
  user: [],
  userMatch: "contains",
  state: [],
  tag: [],
  nodeMatch: "eq",
  stat: [],
};

/** Name → texts, in order: the query string of an address, or `presets` of the page block. */
export type Params = Record<string, string[]>;
export function paramsOf(search: string): Params {
  const out: Params = {};
  for (const [k, v] of new URLSearchParams(search)) (out[k] ??= []).push(v);
  return out;
}

/**
 * Reads an address; what is malformed is left out. Old links without match parameters keep their meaning: project and
 * node exact, one user as part of the name.
 */
export function readFilters(p: Params): Filters {
  const one = (k: string): string | undefined => p[k]?.[0] || undefined;
  const match = (k: string, otherwise: Match): Match => {
    const v = one(k);
    return v === "contains" ? "contains" : v === "eq" || v === "in" ? "eq" : otherwise;
  };
  const users = p.user?.filter(Boolean) ?? [];
  const arrayJobId = Number(one("arrayJobId"));
  return {
    dbId: p.dbId?.filter((x) => /^\d+$/.test(x)) ?? [],
    jobId: p.jobId?.filter(Boolean) ?? [],
    arrayJobId: Number.isInteger(arrayJobId) && arrayJobId > 0 ? arrayJobId : undefined,
    jobName: one("jobName"),
    project: one("project"),
    projectMatch: match("projectMatch", "eq"),
    user: users,
    userMatch: users.length > 1 ? "eq" : match("userMatch", "contains"),
    cluster: one("cluster"),
    subCluster: one("subCluster"),
    partition: one("partition"),
    state: p.state?.filter(Boolean) ?? [],
    shared: one("shared"),
    schedule: one("schedule"),
    startTime: readStart(one("startTime")),
    duration: readRange(one("duration")),
    tag: p.tag?.filter((x) => /^\d+$/.test(x)) ?? [],
    numNodes: readRange(one("numNodes")),
    numHWThreads: readRange(one("numHWThreads")),
    numAccelerators: readRange(one("numAccelerators")),
    energy: readRange(one("energy")),
    node: one("node"),
    nodeMatch: match("nodeMatch", "eq"),
    stat: (p.stat ?? []).flatMap(readStat),
  };
}

const NUMBER = "\\d+(?:\\.\\d+)?";
export function readRange(text: string | undefined): Range | undefined {
  if (!text) return undefined;
  let m = new RegExp(`^lessthan-(${NUMBER})$`).exec(text);
  if (m) return { to: Number(m[1]) };
  m = new RegExp(`^morethan-(${NUMBER})$`).exec(text);
  if (m) return { from: Number(m[1]) };
  m = new RegExp(`^(${NUMBER})-(${NUMBER})$`).exec(text);
  return m ? { from: Number(m[1]) || undefined, to: Number(m[2]) || undefined } : undefined;
}

function readStart(text: string | undefined): StartTime | undefined {
  if (!text) return undefined;
  const m = /^(\d+)-(\d+)$/.exec(text);
  if (m) return { from: Number(m[1]) || undefined, to: Number(m[2]) || undefined };
  return NAMED_RANGES[text] ? { range: text } : undefined;
}

function readStat(text: string): StatRange[] {
  // The name may hold a minus: the range is taken from the right.
  const m = new RegExp(`^(.+?)-((?:lessthan|morethan|${NUMBER})-${NUMBER})$`).exec(text);
  const range = m ? readRange(m[2]) : undefined;
  return m?.[1] && range ? [{ name: m[1], ...range }] : [];
}

export function writeRange(r: Range): string {
  if (r.from != null && r.to != null) return `${r.from}-${r.to}`;
  return r.to != null ? `lessthan-${r.to}` : `morethan-${r.from ?? 0}`;
}

/** Query string without question mark; reading it again gives the same filters. */
export function writeFilters(f: Filters): string {
  const q = new URLSearchParams();
  const put = (k: string, v: string | undefined) => v && q.append(k, v);
  f.dbId.forEach((v) => put("dbId", v));
  f.jobId.forEach((v) => put("jobId", v));
  put("arrayJobId", f.arrayJobId?.toString());
  put("jobName", f.jobName);
  put("project", f.project);
  if (f.project) put("projectMatch", f.projectMatch);
  f.user.forEach((v) => put("user", v));
  if (f.user.length) put("userMatch", f.user.length > 1 ? "in" : f.userMatch);
  put("cluster", f.cluster);
  put("subCluster", f.subCluster);
  put("partition", f.partition);
  f.state.forEach((v) => put("state", v));
  put("shared", f.shared);
  put("schedule", f.schedule);
  if (f.startTime) put("startTime", "range" in f.startTime ? f.startTime.range : `${f.startTime.from ?? 0}-${f.startTime.to ?? 0}`);
  if (f.duration) put("duration", writeRange(f.duration));
  f.tag.forEach((v) => put("tag", v));
  for (const k of ["numNodes", "numHWThreads", "numAccelerators", "energy"] as const) if (f[k]) put(k, writeRange(f[k]));
  put("node", f.node);
  if (f.node) put("nodeMatch", f.nodeMatch);
  f.stat.forEach((s) => put("stat", `${s.name}-${writeRange(s)}`));
  return q.toString();
}

/** `[JobFilter!]` of the API: one element per filter, combined by AND. */
export function graphqlFilters(f: Filters): Record<string, unknown>[] {
  const out: Record<string, unknown>[] = [];
  const text = (key: string, v: string | undefined, match: Match = "eq") => v && out.push({ [key]: { [match]: v } });
  const range = (key: string, r: Range | undefined) => r && out.push({ [key]: { from: r.from ?? 0, to: r.to ?? 0 } });
  const any = (key: string, list: string[], match: Match = "eq") => {
    if (list.length === 1) text(key, list[0], match);
    else if (list.length) out.push({ [key]: { in: list } });
  };
  if (f.dbId.length) out.push({ dbId: f.dbId });
  any("jobId", f.jobId);
  if (f.arrayJobId) out.push({ arrayJobId: f.arrayJobId });
  text("jobName", f.jobName, "contains");
  text("project", f.project, f.projectMatch);
  any("user", f.user, f.userMatch);
  text("cluster", f.cluster);
  text("subCluster", f.subCluster);
  text("partition", f.partition);
  if (f.state.length) out.push({ state: f.state });
  if (f.shared) out.push({ shared: f.shared });
  if (f.schedule) out.push({ schedule: f.schedule });
  if (f.startTime && "range" in f.startTime) out.push({ startTime: { range: f.startTime.range } });
  else if (f.startTime && (f.startTime.from || f.startTime.to)) {
    out.push({
      startTime: { ...(f.startTime.from && { from: rfc3339(f.startTime.from) }), ...(f.startTime.to && { to: rfc3339(f.startTime.to) }) },
    });
  }
  // "Less than" is strict and "more than" its complement: no job of exactly the limit is in both (web-ui 7.1, PITFALL).
  if (f.duration)
    range("duration", { from: f.duration.from, to: f.duration.from == null && f.duration.to ? f.duration.to - 1 : f.duration.to });
  if (f.tag.length) out.push({ tags: f.tag });
  range("numNodes", f.numNodes);
  range("numHWThreads", f.numHWThreads);
  range("numAccelerators", f.numAccelerators);
  range("energy", f.energy);
  text("node", f.node, f.nodeMatch);
  if (f.stat.length) out.push({ metricStats: f.stat.map((s) => ({ metricName: s.name, range: { from: s.from ?? 0, to: s.to ?? 0 } })) });
  return out;
}
