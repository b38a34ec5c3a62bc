import { rfc3339 } from "../core/times";
import type { NodeMetrics } from "../core/types";
import type { Ask } from "./graphql";

const NODE = `host nodeState metricHealth subCluster
  metrics { name scope metric { unit { base prefix } timestep series { hostname id statistics { avg min max } data } } }`;

export interface NodePage {
  items: NodeMetrics[];
  total: number;
  hasNextPage: boolean;
}
export interface NodeQuery {
  cluster: string;
  subCluster: string;
  state: string;
  host: string;
  metric: string;
  from: number;
  to: number;
  page: number;
  perPage: number;
}

/** One page of a cluster's nodes with one metric, filtered by the server; hosts without data are in it too. */
export async function findNodes(ask: Ask, q: NodeQuery, signal?: AbortSignal): Promise<NodePage> {
  const text = `query($cluster: String!, $sub: String!, $state: String!, $host: String!, $metrics: [String!], $from: Time!, $to: Time!,
      $page: PageRequest) {
    nodeMetricsList(cluster: $cluster, subCluster: $sub, stateFilter: $state, nodeFilter: $host, scopes: ["node"], metrics: $metrics,
      from: $from, to: $to, page: $page) {
      totalNodes hasNextPage items { ${NODE} } } }`;
  const { nodeMetricsList: r } = await ask<{
    nodeMetricsList: { items: NodeMetrics[]; totalNodes: number | null; hasNextPage: boolean | null };
  }>(
    text,
    {
      cluster: q.cluster,
      sub: q.subCluster,
      state: q.state,
      host: q.host,
      metrics: [q.metric],
      from: rfc3339(q.from),
      to: rfc3339(q.to),
      page: { itemsPerPage: q.perPage, page: q.page },
    },
    signal,
  );
  return { items: r.items, total: r.totalNodes ?? r.items.length, hasNextPage: r.hasNextPage ?? false };
}

/** All metrics of one node; null when the store knows nothing of it in this time. */
export async function loadNode(
  ask: Ask,
  cluster: string,
  host: string,
  from: number,
  to: number,
  signal?: AbortSignal,
): Promise<NodeMetrics | null> {
  const text = `query($cluster: String!, $nodes: [String!], $from: Time!, $to: Time!) {
    nodeMetrics(cluster: $cluster, nodes: $nodes, from: $from, to: $to) { ${NODE} } }`;
  const { nodeMetrics } = await ask<{ nodeMetrics: NodeMetrics[] }>(
    text,
    { cluster, nodes: [host], from: rfc3339(from), to: rfc3339(to) },
    signal,
  );
  return nodeMetrics.find((n) => n.host === host) ?? null;
}

/** Running jobs that have this host. */
export async function jobsOnNode(ask: Ask, cluster: string, host: string): Promise<number> {
  const text = `query($filter: [JobFilter!]) { jobs(filter: $filter, page: { itemsPerPage: 1, page: 1 }) { count } }`;
  const filter = [{ cluster: { eq: cluster } }, { node: { eq: host } }, { state: ["running"] }];
  return (await ask<{ jobs: { count: number | null } }>(text, { filter })).jobs.count ?? 0;
}
