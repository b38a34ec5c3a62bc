import type { Cluster } from "./types";

export interface Order {
  field: string;
  type: "col" | "foot";
  order: "ASC" | "DESC";
}
export const NEWEST_FIRST: Order = { field: "startTime", type: "col", order: "DESC" };

/** Columns that the API sorts by; the spelling of numHwthreads is that of the API. */
const COLUMNS: readonly (readonly [string, string])[] = [
  ["startTime", "Start Time"],
  ["duration", "Duration"],
  ["numNodes", "Number of Nodes"],
  ["numHwthreads", "Number of HWThreads"],
  ["numAcc", "Number of Accelerators"],
  ["energy", "Total Energy"],
];

/** Statistic of each footprint metric, over all clusters. */
export function footprintStats(clusters: Cluster[]): Map<string, string> {
  const out = new Map<string, string>();
  for (const c of clusters)
    for (const s of c.subClusters) for (const m of s.metricConfig) if (m.footprint && !out.has(m.name)) out.set(m.name, m.footprint);
  return out;
}

export function sortChoices(clusters: Cluster[]): { field: string; type: Order["type"]; word: string }[] {
  const feet = [...footprintStats(clusters)].sort(([a], [b]) => a.localeCompare(b));
  return [
    ...COLUMNS.map(([field, word]) => ({ field, type: "col" as const, word })),
    ...feet.map(([metric, stat]) => ({ field: `${metric}_${stat}`, type: "foot" as const, word: `${metric} (${stat})` })),
  ];
}

/** A second click on the same field turns the direction. */
export function toggled(now: Order, field: string, type: Order["type"]): Order {
  return { field, type, order: now.field === field && now.order === "DESC" ? "ASC" : "DESC" };
}

export function writeOrder(o: Order): string | null {
  const same = o.field === NEWEST_FIRST.field && o.order === NEWEST_FIRST.order;
  return same ? null : `${o.field}-${o.order.toLowerCase()}`;
}
export function readOrder(text: string | undefined, choices: { field: string; type: Order["type"] }[]): Order {
  const m = /^(.+)-(asc|desc)$/.exec(text ?? "");
  const choice = choices.find((c) => c.field === m?.[1]);
  return choice ? { field: choice.field, type: choice.type, order: m?.[2] === "asc" ? "ASC" : "DESC" } : NEWEST_FIRST;
}
