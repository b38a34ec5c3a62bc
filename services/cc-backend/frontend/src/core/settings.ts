/** The flat settings map of web-ui 6.3 and how a page reads it: a value of the wrong type counts as absent. */
export type Settings = Record<string, unknown>;

export function flag(s: Settings, key: string, otherwise: boolean): boolean {
  const v = s[key];
  return typeof v === "boolean" ? v : otherwise;
}
export function int(s: Settings, key: string, otherwise: number): number {
  const v = s[key];
  return typeof v === "number" && Number.isInteger(v) && v > 0 ? v : otherwise;
}
export function texts(s: Settings, key: string): string[] | null {
  const v = s[key];
  return Array.isArray(v) && v.every((x) => typeof x === "string") ? (v as string[]) : null;
}
export function text(s: Settings, key: string): string | null {
  const v = s[key];
  return typeof v === "string" ? v : null;
}

/** Key under which a choice for this cluster and subcluster is stored. */
export function settingKey(base: string, cluster?: string | null, sub?: string | null): string {
  return cluster ? (sub ? `${base}:${cluster}:${sub}` : `${base}:${cluster}`) : base;
}

/** `key:cluster:subcluster`, then `key:cluster`, then `key`. An empty list counts as chosen. */
export function metricList(s: Settings, base: string, cluster?: string | null, sub?: string | null): string[] {
  const keys = [sub && settingKey(base, cluster, sub), cluster && settingKey(base, cluster), base];
  for (const key of keys) {
    const list = key ? texts(s, key) : null;
    if (list) return list;
  }
  return [];
}

/** Footprint column of a job list: per cluster, else the general choice (web-ui 6.3, PITFALL). */
export function showFootprint(s: Settings, cluster: string | null): boolean {
  const general = flag(s, "jobList_showFootprint", false);
  return cluster ? flag(s, `jobList_showFootprint:${cluster}`, general) : general;
}
