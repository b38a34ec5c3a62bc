import uPlot from "uplot";
import { num, withUnit } from "../core/numbers";
import { type Roof, type RoofPoint, roofTop } from "../core/roofline";
import { axisDuration } from "../core/times";
import { font, haloText, ratio } from "./canvas";
import { type Env, axisLook } from "./timeplot";

const X_RANGE: [number, number] = [0.01, 1000];
const DECADES = [0.01, 0.1, 1, 10, 100, 1000, 10000, 100000];
const GF = { prefix: "G", base: "F/s" };
const GB = { prefix: "G", base: "B/s" };

/** Roofline in the plane of intensity and performance, both logarithmic, points coloured by time; hover, and zoom by drag. */
export function roofPlot(
  host: HTMLElement,
  width: number,
  height: number,
  points: RoofPoint[],
  roof: Roof | null,
  radius: number,
  env: Env,
): uPlot {
  const p = env.palette;
  const yr: [number, number] = [1, roofTop(roof, points)];
  const shown = points.filter((q) => q.y >= yr[0] && q.x >= X_RANGE[0] && q.x <= X_RANGE[1]);
  const colours = shown.map((q) => p.viridis(q.t));
  const decades = (u: uPlot, key: string) =>
    DECADES.filter((d) => d >= (u.scales[key]?.min ?? 0) * 0.999 && d <= (u.scales[key]?.max ?? 0) * 1.001);
  const labels = (_u: uPlot, s: number[]) => s.map((v) => scale1000(v) ?? num(v));
  const axis = (scale: string, label: string, size: number): uPlot.Axis => ({
    ...axisLook(p),
    scale,
    label,
    labelFont: font(),
    labelSize: 16,
    labelGap: scale === "x" ? 0 : 2,
    size,
    gap: 3,
    splits: (u) => decades(u, scale),
    filter: (_u, s) => s,
    values: labels,
  });
  return new uPlot(
    {
      width,
      height,
      padding: [10, 14, 0, 0],
      legend: { show: false },
      cursor: { points: { show: false }, x: false, y: false, drag: { x: true, y: true, uni: 20 } },
      scales: {
        x: { time: false, distr: 3, range: (_u, a, b) => (b > a && a > 0 ? [a, b] : X_RANGE) },
        y: { distr: 3, range: (_u, a, b) => (b > a && a > 0 ? [a, b] : yr) },
      },
      axes: [axis("x", "Intensity (flop/byte)", 22), axis("y", "Performance (GF/s)", 40)],
      series: [{}, { stroke: "transparent", points: { show: false } }],
      hooks: {
        draw: [
          (u) => {
            clipped(u, () => {
              drawPoints(u, shown, colours, radius);
              if (roof) drawRoofs(u, roof, env);
            });
          },
        ],
        ready: [
          (u) => {
            u.over.addEventListener("mouseleave", () => env.tip(null));
            u.over.addEventListener("mousemove", (e) => {
              const q = nearest(u, shown);
              env.tip(
                q ? { x: e.clientX, y: e.clientY } : null,
                q
                  ? {
                      head: `${q.host} · ${axisDuration(q.at)}`,
                      rows: [
                        ["intensity", `${num(q.x)} flop/B`],
                        ["performance", withUnit(q.y, GF)],
                      ],
                    }
                  : undefined,
              );
            });
          },
        ],
      },
    },
    [X_RANGE, yr],
    host,
  );
}

const scale1000 = (v: number): string | null => (v >= 1000 ? `${v / 1000}\u202fk` : null);

function clipped(u: uPlot, draw: () => void): void {
  u.ctx.save();
  u.ctx.beginPath();
  u.ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
  u.ctx.clip();
  draw();
  u.ctx.restore();
}

function drawPoints(u: uPlot, points: RoofPoint[], colours: string[], radius: number): void {
  const r = ratio();
  u.ctx.globalAlpha = 0.75;
  points.forEach((q, i) => {
    u.ctx.fillStyle = colours[i] ?? "";
    u.ctx.beginPath();
    u.ctx.arc(u.valToPos(q.x, "x", true), u.valToPos(q.y, "y", true), radius * r, 0, 2 * Math.PI);
    u.ctx.fill();
  });
  u.ctx.globalAlpha = 1;
}

function drawRoofs(u: uPlot, roof: Roof, env: Env): void {
  const { ctx, bbox: b } = u;
  const r = ratio();
  const p = env.palette;
  const X = (v: number) => u.valToPos(v, "x", true);
  const Y = (v: number) => u.valToPos(v, "y", true);
  const x0 = u.scales.x?.min ?? X_RANGE[0];
  const x1 = u.scales.x?.max ?? X_RANGE[1];
  ctx.strokeStyle = p.col("roof");
  ctx.lineWidth = 1.5 * r;
  ctx.lineJoin = "round";
  ctx.beginPath();
  ctx.moveTo(X(x0), Y(x0 * roof.bandwidth));
  ctx.lineTo(X(roof.simd / roof.bandwidth), Y(roof.simd));
  ctx.lineTo(X(x1), Y(roof.simd));
  ctx.stroke();
  ctx.lineWidth = r;
  ctx.setLineDash([4 * r, 3 * r]);
  ctx.beginPath();
  ctx.moveTo(X(roof.scalar / roof.bandwidth), Y(roof.scalar));
  ctx.lineTo(X(x1), Y(roof.scalar));
  ctx.stroke();
  ctx.setLineDash([]);
  ctx.font = font(10 * r, 500);
  ctx.textBaseline = "bottom";
  ctx.textAlign = "right";
  const right = b.left + b.width - 4 * r;
  // Above its roof, or below it where the plot ends.
  const name = (text: string, y: number) =>
    haloText(ctx, text, right, y - 14 * r < b.top ? y + 15 * r : y - 3 * r, p.col("axis"), p.col("panel"));
  name(`SIMD ${withUnit(roof.simd, GF)}`, Y(roof.simd));
  name(`scalar ${withUnit(roof.scalar, GF)}`, Y(roof.scalar));
  // The name of the bandwidth lies along the diagonal, a little above its lower visible end.
  const xa = Math.max(x0 * 2.2, (1.3 * (u.scales.y?.min ?? 1)) / roof.bandwidth);
  const ya = xa * roof.bandwidth;
  ctx.save();
  ctx.translate(X(xa), Y(ya));
  ctx.rotate(Math.atan2(Y(ya * 2) - Y(ya), X(xa * 2) - X(xa)));
  ctx.textAlign = "left";
  haloText(ctx, withUnit(roof.bandwidth, GB), 4 * r, -4 * r, p.col("axis"), p.col("panel"));
  ctx.restore();
}

function nearest(u: uPlot, points: RoofPoint[]): RoofPoint | null {
  const { left = -1, top = -1 } = u.cursor;
  let best: RoofPoint | null = null;
  let distance = 12;
  for (const q of points) {
    const d = Math.hypot(u.valToPos(q.x, "x") - (left ?? -1), u.valToPos(q.y, "y") - (top ?? -1));
    if (d < distance) {
      distance = d;
      best = q;
    }
  }
  return best;
}
