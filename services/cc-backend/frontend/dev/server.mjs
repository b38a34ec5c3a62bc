// Serves the built pages with canned data: `npm run dev -- PATH_TO_FIXTURES [PORT]`. See README.md.
import { createServer } from "node:http";
import { existsSync, readFileSync } from "node:fs";
import { dirname, extname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { curveOf, statOf } from "./fixtures.mjs";
import { jobMetrics, makeWorld, metricSeries } from "./world.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const STATIC = resolve(here, "../../src/cc_backend/web/static");
const world = makeWorld(process.argv[2] ?? "../../../../shared/data");
const port = Number(process.argv[3] ?? 8080);
const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const TYPES = { ".js": "text/javascript", ".css": "text/css", ".woff2": "font/woff2", ".svg": "image/svg+xml" };

const settings = {
  jobList_usePaging: false,
  jobList_showFootprint: true,
  jobView_showPolarPlot: true,
  jobView_showFootprint: true,
  jobView_showRoofline: true,
  jobView_showStatTable: true,
  metricConfig_jobListMetrics: ["cpu_load", "flops_any", "mem_bw", "mem_used"],
  metricConfig_jobViewPlotMetrics: ["cpu_load", "flops_any", "mem_bw", "mem_used", "acc_utilization", "nv_temp", "ipc", "bogus"],
  metricConfig_jobViewTableMetrics: ["flops_any", "mem_bw", "mem_used", "cpu_load"],
  plotConfiguration_colorBackground: true,
  plotConfiguration_plotsPerRow: 3,
  plotConfiguration_lineWidth: 3,
  jobList_hideShortRunningJobs: 300,
  "metricConfig_jobListMetrics:alex": ["acc_utilization", "cpu_load", "flops_any", "mem_bw", "mem_used"],
};
const menu = [
  { label: "My Jobs", href: "/monitoring/user/adam", group: "" },
  { label: "Jobs", href: "/monitoring/jobs/", group: "Jobs" },
  {
    label: "Nodes",
    href: "",
    group: "Info",
    children: world.clusters.map((c) => ({ label: c.name, href: `/monitoring/systems/${c.name}` })),
  },
];

const ROUTES = [
  [/^\/$/, () => ({ page: "home", title: "ClusterCockpit" })],
  [/^\/monitoring\/jobs\/$/, () => ({ page: "jobs", title: "Jobs - ClusterCockpit" })],
  [/^\/monitoring\/user\/([^/]+)$/, (m) => ({ page: "user", title: `User ${m[1]}`, params: { username: m[1] } })],
  [/^\/monitoring\/job\/(\d+)$/, (m) => ({ page: "job", title: `Job ${m[1]}`, params: { id: Number(m[1]) } })],
  [/^\/monitoring\/systems\/([^/]+)$/, (m) => ({ page: "systems", title: `${m[1]} Nodes`, params: { cluster: m[1] } })],
  [
    /^\/monitoring\/node\/([^/]+)\/([^/]+)$/,
    (m) => ({
      page: "node",
      title: `Node ${m[2]}`,
      params: { cluster: m[1], hostname: m[2], subCluster: m[1] === "alex" ? "a40" : "haswell" },
    }),
  ],
];

function shell(block) {
  const manifest = JSON.parse(readFileSync(join(STATIC, "manifest.json"), "utf8"));
  const main = manifest["src/main.ts"];
  const styles = [main, ...(main.imports ?? []).map((k) => manifest[k])].flatMap((e) => e.css ?? []);
  const json = JSON.stringify(block).replaceAll("<", "\\u003c");
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${block.title}</title>
<script src="/static/${manifest["src/theme.ts"].file}"></script>${styles.map((s) => `<link rel="stylesheet" href="/static/${s}">`).join("")}
<script type="module" src="/static/${main.file}"></script></head><body><div id="app"></div><script type="application/json" id="page">${json}</script></body></html>`;
}

const match = (v, f) =>
  f == null
    ? true
    : f.eq != null
      ? v === f.eq
      : f.contains != null
        ? String(v).toLowerCase().includes(f.contains.toLowerCase())
        : f.in
          ? f.in.includes(v)
          : true;
const within = (v, r) => r == null || ((!r.from || v >= r.from) && (!r.to || v <= r.to));
function select(filter = []) {
  return world.jobs.filter((j) =>
    filter.every(
      (f) =>
        match(j.cluster, f.cluster) &&
        match(j.subCluster, f.subCluster) &&
        match(j.user, f.user) &&
        match(j.project, f.project) &&
        match(String(j.jobId), f.jobId) &&
        match(j.metaData?.jobName ?? "", f.jobName) &&
        (!f.state || f.state.includes(j.state)) &&
        within(j.duration, f.duration) &&
        within(j.numNodes, f.numNodes) &&
        (!f.node || j.resources.some((r) => match(r.hostname, f.node))),
    ),
  );
}
const KEYS = {
  startTime: (j) => j.startTime,
  duration: (j) => j.duration,
  numNodes: (j) => j.numNodes,
  numAcc: (j) => j.numAcc,
  energy: (j) => j.energy,
  numHwthreads: (j) => j.numHWThreads,
};
function page({ filter, order, page: p }) {
  const key = order
    ? (KEYS[order.field] ?? ((j) => j.footprint.find((f) => `${f.name}_${f.stat}` === order.field)?.value ?? -1))
    : KEYS.startTime;
  const all = select(filter).sort((a, b) => (key(a) > key(b) ? 1 : key(a) < key(b) ? -1 : 0) * (order?.order === "ASC" ? 1 : -1));
  const { itemsPerPage = 50, page: n = 1 } = p ?? {};
  return { items: all.slice((n - 1) * itemsPerPage, n * itemsPerPage), count: all.length, hasNextPage: all.length > n * itemsPerPage };
}
function nodeOf(cluster, host, i, names, from, to) {
  const subs = world.clusters.find((c) => c.name === cluster).subClusters;
  const sub = subs[host.startsWith("a") ? 0 : i % subs.length];
  const metrics = sub.metricConfig
    .filter((m) => (!names || names.includes(m.name)) && !(i % 11 === 6 || (i % 5 === 1 && m.name === "nv_temp")))
    .map((m) => {
      const data = curveOf(m, i * 31 + 5, Math.floor((to - from) / 60), 60);
      return {
        name: m.name,
        scope: "node",
        metric: { unit: m.unit, timestep: 60, series: [{ hostname: host, id: null, data, statistics: statOf(data) }] },
      };
    });
  return {
    host,
    subCluster: sub.name,
    nodeState: ["allocated", "mixed", "idle", "down", "reserved", "allocated"][i % 6],
    metricHealth: i % 11 === 6 ? "failed" : i % 5 === 1 ? "partial" : "full",
    metrics,
  };
}
const unix = (t) => Math.floor(Date.parse(t) / 1000);

function answer(query, v) {
  if (query.includes("jobsMetrics("))
    return {
      jobsMetrics: v.ids.map((id) => {
        const j = world.jobs.find((x) => x.id === id);
        const scopes = j.numNodes === 1 ? ["core", "accelerator"] : ["node"];
        const fall = (n) => (jobMetrics(j, [n], scopes, null, v.points).length ? scopes : ["node"]);
        return { id, error: null, metrics: v.metrics.flatMap((n) => jobMetrics(j, [n], fall(n), null, v.points)) };
      }),
    };
  if (query.includes("jobMetrics(")) {
    const j = world.jobs.find((x) => x.id === v.id);
    return { jobMetrics: jobMetrics(j, v.metrics, v.scopes, v.resolution) };
  }
  if (query.includes("scopedJobStats(")) {
    const j = world.jobs.find((x) => x.id === v.id);
    return {
      scopedJobStats: jobMetrics(j, v.metrics, v.scopes, 0).map((m) => ({
        name: m.name,
        scope: m.scope,
        stats: metricSeries(j, m.name, m.scope).map((s) => ({ hostname: s.hostname, id: s.id, data: s.statistics })),
      })),
    };
  }
  if (query.includes("job(id")) return { job: world.jobs.find((x) => x.id === v.id) ?? null };
  if (query.includes("nodeMetricsList(")) {
    const hosts = Array.from({ length: 47 }, (_, i) => `a0${121 + i}`).filter((h) => h.includes(v.host));
    const { itemsPerPage: n, page: p } = v.page;
    const all = hosts
      .map((h, i) => nodeOf(v.cluster, h, i, v.metrics, unix(v.from), unix(v.to)))
      .filter((x) => v.state === "all" || x.nodeState === v.state);
    return { nodeMetricsList: { items: all.slice((p - 1) * n, p * n), totalNodes: all.length, hasNextPage: all.length > p * n } };
  }
  if (query.includes("nodeMetrics(")) return { nodeMetrics: [nodeOf(v.cluster, v.nodes[0], 1, null, unix(v.from), unix(v.to))] };
  if (query.includes("r0: jobs"))
    return Object.fromEntries(
      world.clusters.flatMap((c, i) => [
        [`r${i}`, { count: select([{ cluster: { eq: c.name } }, { state: ["running"] }]).length }],
        [`t${i}`, { count: select([{ cluster: { eq: c.name } }]).length }],
      ]),
    );
  return { jobs: page(v) };
}

createServer((req, res) => {
  const url = new URL(req.url, "http://x");
  const send = (status, type, body, more = {}) => {
    res.writeHead(status, { "Content-Type": type, "Content-Security-Policy": CSP, "X-Content-Type-Options": "nosniff", ...more });
    res.end(body);
  };
  if (url.pathname.startsWith("/static/")) {
    const file = join(STATIC, url.pathname.slice(8));
    if (!existsSync(file)) return send(404, "text/plain", "not found");
    const gz = existsSync(`${file}.gz`) && /gzip/.test(req.headers["accept-encoding"] ?? "");
    return send(
      200,
      TYPES[extname(file)] ?? "application/octet-stream",
      readFileSync(gz ? `${file}.gz` : file),
      gz ? { "Content-Encoding": "gzip" } : {},
    );
  }
  const image = /^\/(?:img\/)?((?:logo|favicon)\.png)$/.exec(url.pathname);
  if (image) return send(200, "image/png", readFileSync(join(STATIC, "img", image[1])));
  if (req.method === "POST") {
    let body = "";
    req.on("data", (c) => (body += c));
    req.on("end", () => {
      if (url.pathname !== "/query") return send(200, "text/plain", "success");
      const { query, variables } = JSON.parse(body);
      const from = new URL(req.headers.referer ?? "http://x");
      const reply = () => {
        try {
          if (from.searchParams.get("broken") && !/\b(jobs|job)\(/.test(query))
            return send(
              200,
              "application/json",
              JSON.stringify({ errors: [{ message: "The metric store did not answer within 20 s." }], data: null }),
            );
          send(200, "application/json", JSON.stringify({ data: answer(query, variables) }));
        } catch (e) {
          send(200, "application/json", JSON.stringify({ errors: [{ message: String(e.stack) }], data: null }));
        }
      };
      if (from.searchParams.get("slow")) setTimeout(reply, 60000);
      else reply();
    });
    return;
  }
  for (const [re, make] of ROUTES) {
    const m = re.exec(decodeURIComponent(url.pathname));
    if (!m) continue;
    const base = {
      version: "0.1.0",
      now: Math.floor(Date.now() / 1000),
      params: {},
      presets: {},
      menu,
      clusters: world.clusters,
      settings,
      resampling: { trigger: 30, resolutions: [480, 240, 60], minimumPoints: 100 },
      emissionConstant: 435,
      message: null,
      user: { username: "adam", name: "Adam Admin", roles: ["admin"], projects: [], level: 5, anonymous: false },
    };
    return send(200, "text/html; charset=utf-8", shell({ ...base, ...make(m) }));
  }
  send(404, "text/plain", "not found");
}).listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${port}/monitoring/jobs/`));
