// The small world that the development server shows: jobs, nodes, and how the GraphQL fields are answered.
import { archivedJobs, curveOf, footprinted, loadClusters, statOf, statistics, thin } from "./fixtures.mjs";

const NAMES = [
  "Clustering",
  "16tmds_salt",
  "train",
  "R36u17n34dash34hipcaC",
  "bash",
  "SwinHP2",
  "interactive",
  "",
  "ternary-scan with a rather long job name that is cut",
];
const USERS = [
  ["b160dc10", "b160dc"],
  ["bccb008h", "b134dc"],
  ["iwal017h", "iwal"],
  ["b106dc13", "b106dc"],
  ["adam", "no project"],
];
const STATES = [
  "running",
  "running",
  "running",
  "completed",
  "running",
  "failed",
  "timeout",
  "running",
  "cancelled",
  "completed",
  "out_of_memory",
];

export function makeWorld(data) {
  const clusters = footprinted(loadClusters(data));
  const alex = clusters.find((c) => c.name === "alex");
  const now = Math.floor(Date.now() / 1000);
  const jobs = [];
  for (let i = 0; i < 74; i += 1) {
    const sub = alex.subClusters[i % 3];
    const nodes = i % 9 === 4 ? 4 : i % 13 === 7 ? 12 : 1;
    const state = STATES[i % STATES.length];
    const duration = state === "running" ? 30 + i * 640 : 400 + i * 777;
    const acc = nodes > 1 ? 8 * nodes : [1, 1, 2, 8][i % 4];
    const start = state === "running" ? now - duration : now - duration - i * 1800;
    const [user, project] = USERS[i % USERS.length];
    const job = {
      id: 1000 + i,
      jobId: 679945 - i,
      user,
      project,
      cluster: "alex",
      subCluster: sub.name,
      partition: sub.name,
      startTime: new Date(start * 1000).toISOString(),
      duration,
      walltime: [86400, 43200, 7200][i % 3],
      numNodes: nodes,
      numHWThreads: nodes > 1 ? 128 * nodes : 16 * acc,
      numAcc: acc,
      SMT: 1,
      energy: state === "running" ? 0 : 2.4567 + i / 10,
      shared: nodes > 1 || acc === 8 ? "none" : "multi_user",
      arrayJobId: i % 11 === 3 ? 679900 : 0,
      monitoringStatus: i % 17 === 16 ? 2 : state === "running" ? 1 : 3,
      state,
      tags:
        i % 4 === 1
          ? [{ id: 7, type: "app", name: "gromacs", scope: "global" }]
          : i % 7 === 3
            ? [
                { id: 8, type: "note", name: "mine", scope: "adam" },
                { id: 9, type: "jobClass", name: "lowload", scope: "admin" },
              ]
            : [],
      resources: Array.from({ length: nodes }, (_, k) => ({
        hostname: `a0${121 + ((i * 3 + k) % 60)}`,
        hwthreads: nodes > 1 ? null : Array.from({ length: 16 * acc }, (_, h) => h),
        accelerators: Array.from({ length: nodes > 1 ? 8 : acc }, (_, h) => `00000000:${h + 1}1:00.0`),
      })),
      metaData: {
        jobName: NAMES[i % NAMES.length],
        ...(i === 4 && {
          message:
            "One of 16 threads works most of the time.\nPlease ask for fewer cores or raise the number of data loaders. <script>alert(1)</script>",
        }),
        ...(i % 3 === 0 && {
          jobScript:
            "#!/bin/bash -l\n#SBATCH --gres=gpu:a40:1\n#SBATCH --time=24:00:00\n\nmodule load gromacs\nsrun gmx mdrun -s topol.tpr",
          slurmInfo: "JobId=679945 JobName=Clustering\n   UserId=b160dc10(4711) GroupId=b160dc(4711)",
        }),
      },
      userData: null,
      sub,
    };
    finish(job);
    jobs.push(job);
  }
  archivedJobs(data, clusters).forEach(({ meta, series, sub }, k) => {
    const job = {
      id: 1 + k,
      jobId: meta.jobId,
      user: meta.user,
      project: meta.project,
      cluster: "emmy",
      subCluster: meta.subCluster,
      partition: meta.partition,
      startTime: new Date(meta.startTime * 1000).toISOString(),
      duration: meta.duration,
      walltime: meta.walltime,
      numNodes: meta.numNodes,
      numHWThreads: meta.numNodes * 40,
      numAcc: 0,
      SMT: 1,
      energy: 174.58,
      shared: "none",
      arrayJobId: 0,
      monitoringStatus: 3,
      state: meta.jobState,
      tags: [],
      resources: meta.resources.map((r) => ({ hostname: r.hostname, hwthreads: null, accelerators: null })),
      metaData: {},
      userData: null,
      sub,
      series,
    };
    finish(job);
    jobs.push(job);
  });
  jobs.sort((a, b) => b.startTime.localeCompare(a.startTime));
  return { clusters, jobs, now };

  function finish(job) {
    job.footprint = job.sub.metricConfig
      .filter((m) => m.footprint)
      .map((m) => {
        const s = metricSeries(job, m.name, "node");
        return { name: m.name, stat: m.footprint, value: s ? s.reduce((a, x) => a + x.statistics[m.footprint], 0) / s.length : 0 };
      })
      .slice(0, 7);
    job.energyFootprint = job.energy
      ? [
          { hardware: "Accelerator", metric: "acc_power", value: job.energy * 0.7 },
          { hardware: "CPU", metric: "cpu_power", value: job.energy * 0.3 },
        ]
      : [];
  }
}

/** Series of a job at a scope, at 60 s; null where the metric is not there. */
export function metricSeries(job, name, scope) {
  if (job.series) {
    const m = job.series[name]?.node;
    return scope === "node" && m
      ? m.series.map((s) => ({ hostname: s.hostname, id: null, data: s.data, statistics: s.statistics ?? statOf(s.data) }))
      : null;
  }
  const config = job.sub.metricConfig.find((m) => m.name === name);
  if (!config || job.monitoringStatus === 2 || (name === "mem_bw" && job.id % 19 === 3)) return null;
  const n = Math.floor(job.duration / 60);
  const ids =
    scope === "accelerator"
      ? Array.from({ length: Math.min(8, job.numAcc) }, (_, k) => `00000000:${k + 1}1:00.0`)
      : scope === "core"
        ? Array.from({ length: Math.min(32, job.numHWThreads) }, (_, k) => String(k))
        : scope === "socket"
          ? ["0", "1"]
          : [null];
  const part = config.aggregation === "sum" ? { core: 128, socket: 2, accelerator: 8, node: 1 }[scope] : 1;
  return job.resources.flatMap((r, h) =>
    ids.map((id, k) => {
      const data = curveOf({ ...config, peak: config.peak / part }, job.id + h * 3 + k * 17, n, 60);
      return { hostname: r.hostname, id, data, statistics: statOf(data) };
    }),
  );
}

/** NamedMetric list for the asked scopes; `resolution` or `points` thin the data. */
export function jobMetrics(job, names, scopes, resolution, points) {
  const out = [];
  for (const name of names ?? job.sub.metricConfig.map((m) => m.name)) {
    const config = job.sub.metricConfig.find((m) => m.name === name);
    if (!config) continue;
    const order = ["node", "socket", "memoryDomain", "core", "hwthread", "accelerator"];
    const native = config.scope === "hwthread" ? "core" : config.scope;
    const possible = job.series
      ? ["node"]
      : ["node", "socket", "core"]
          .filter((s) => native !== "accelerator" && order.indexOf(s) <= order.indexOf(native))
          .concat(native === "accelerator" ? ["node", "accelerator"] : []);
    for (const scope of scopes.filter((s) => possible.includes(s))) {
      const raw = metricSeries(job, name, scope);
      if (!raw?.length) continue;
      const want = points ?? (resolution === 0 ? 1e9 : raw[0].data.length / ((resolution ?? 480) / 60));
      let k = 1;
      const series = raw.map((s) => {
        const t = thin(s.data, want);
        k = t.k;
        return { ...s, data: t.data };
      });
      out.push({ name, scope, metric: { unit: config.unit, timestep: 60 * k, series, statisticsSeries: statistics(series) } });
    }
  }
  return out;
}
