/** Answers of the GraphQL API as far as the pages ask for them. Units: seconds for durations, unix seconds where a field says so. */
export type Scope = "node" | "socket" | "memoryDomain" | "core" | "hwthread" | "accelerator";
export interface Unit {
  base: string;
  prefix?: string | null;
}
export interface Stat {
  avg: number;
  min: number;
  max: number;
}
export type Value = number | null;

export interface Thresholds {
  peak: number;
  normal: number | null;
  caution: number;
  alert: number;
  lowerIsBetter: boolean;
}
export interface MetricConfig {
  name: string;
  unit: Unit;
  scope: Scope;
  aggregation: string;
  timestep: number;
  peak: number;
  normal: number | null;
  caution: number;
  alert: number;
  lowerIsBetter: boolean | null;
  /** statistic that is kept as footprint, empty when none */
  footprint?: string;
  energy?: string;
}
export interface MetricValue {
  unit: Unit;
  value: number;
}
export interface SubCluster {
  name: string;
  nodes: string;
  processorType: string;
  socketsPerNode: number;
  coresPerSocket: number;
  threadsPerCore: number;
  flopRateScalar: MetricValue;
  flopRateSimd: MetricValue;
  memoryBandwidth: MetricValue;
  topology: { memoryDomain: number[][] | null; accelerators: { id: string }[] | null };
  metricConfig: MetricConfig[];
  footprint: string[];
}
export interface Cluster {
  name: string;
  partitions: string[];
  subClusters: SubCluster[];
}

export interface Resource {
  hostname: string;
  hwthreads: number[] | null;
  accelerators: string[] | null;
}
export interface Tag {
  id: number;
  type: string;
  name: string;
  scope: string;
}
export interface FootprintValue {
  name: string;
  stat: string;
  value: number;
}
export interface EnergyValue {
  hardware: string;
  metric: string;
  value: number;
}
export interface JobLink {
  id: string;
  jobId: number;
}
export type Shared = "none" | "single_user" | "multi_user";

export interface Job {
  id: number;
  jobId: number;
  user: string;
  project: string;
  cluster: string;
  subCluster: string;
  partition: string;
  startTime: string;
  duration: number;
  walltime: number;
  numNodes: number;
  numHWThreads: number;
  numAcc: number;
  SMT: number;
  energy: number;
  shared: Shared;
  arrayJobId: number;
  monitoringStatus: number;
  state: string;
  tags: Tag[];
  resources: Resource[];
  footprint: FootprintValue[] | null;
  energyFootprint?: EnergyValue[] | null;
  metaData: Record<string, string> | null;
  userData: { username: string; name: string; email: string } | null;
  concurrentJobs?: { items: JobLink[]; listQuery: string | null; count: number } | null;
}

export interface Series {
  hostname: string;
  id: string | null;
  statistics: Stat | null;
  data?: Value[];
}
export interface StatsSeries {
  min: Value[];
  median: Value[];
  mean: Value[];
  max: Value[];
}
export interface JobMetric {
  unit: Unit | null;
  timestep: number;
  series: Series[] | null;
  statisticsSeries?: StatsSeries | null;
}
export interface NamedMetric {
  name: string;
  scope: Scope;
  metric: JobMetric;
}
export interface ScopedStats {
  name: string;
  scope: Scope;
  stats: { hostname: string; id: string | null; data: Stat }[];
}
export interface NodeMetrics {
  host: string;
  nodeState: string;
  metricHealth: string;
  subCluster: string;
  metrics: NamedMetric[];
}

export interface Resampling {
  minimumPoints?: number;
  trigger: number;
  resolutions: number[];
}
