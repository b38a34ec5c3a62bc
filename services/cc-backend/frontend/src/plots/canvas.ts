import type uPlot from "uplot";
import { num } from "../core/numbers";
import { badIsHigh, hasLimits } from "../core/levels";
import type { Thresholds } from "../core/types";
import type { Palette } from "./colours";

export const ratio = (): number => devicePixelRatio || 1;
export const font = (px = 11, weight = 400): string => `${weight} ${px}px "Inter Variable", system-ui, sans-serif`;

/** Diagonal lines, 1 px wide and `gap` px apart. */
export function hatch(ctx: CanvasRenderingContext2D, color: string, gap: number): CanvasPattern | null {
  const tile = document.createElement("canvas");
  const size = Math.round(gap * ratio());
  tile.width = tile.height = size;
  const x = tile.getContext("2d");
  if (!x) return null;
  x.strokeStyle = color;
  x.lineWidth = ratio();
  x.beginPath();
  for (const shift of [-size / 2, 0, size / 2]) {
    x.moveTo(shift, size - shift);
    x.lineTo(size + shift, -shift);
  }
  x.stroke();
  return ctx.createPattern(tile, "repeat");
}

/** Text with a halo in the colour of the ground, so that it can be read over curves. */
export function haloText(ctx: CanvasRenderingContext2D, text: string, x: number, y: number, ink: string, ground: string): void {
  ctx.lineWidth = 4 * ratio();
  ctx.lineJoin = "round";
  ctx.strokeStyle = ground;
  ctx.strokeText(text, x, y);
  ctx.fillStyle = ink;
  ctx.fillText(text, x, y);
}

/** ground: zones filled · ruler: only the 3 px at the right edge · words: ruler and names, drawn above the curves */
export type ZoneLayer = "ground" | "ruler" | "words";

/** Alert zone hatched, caution zone plain, both with a ruler at the right edge and their names (web-design 5, Thresholds). */
export function drawZones(u: uPlot, t: Thresholds, layer: ZoneLayer, p: Palette): void {
  if (!hasLimits(t)) return;
  const { ctx, bbox: b } = u;
  const r = ratio();
  const bottom = b.top + b.height;
  const y = (v: number) => Math.max(b.top, Math.min(bottom, u.valToPos(v, "y", true)));
  const high = badIsHigh(t);
  const zones: [from: number, to: number, name: "alert" | "caution"][] = [
    high ? [b.top, y(t.alert), "alert"] : [y(t.alert), bottom, "alert"],
    high ? [y(t.alert), y(t.caution), "caution"] : [y(t.caution), y(t.alert), "caution"],
  ];
  ctx.save();
  for (const [from, to, name] of zones) {
    const tall = to - from;
    if (tall < 1.5 * r) continue;
    if (layer === "ground") {
      ctx.fillStyle = p.col(`${name}-soft`);
      ctx.fillRect(b.left, from, b.width, tall);
      const lines = name === "alert" ? hatch(ctx, p.col("alert-fill"), 6) : null;
      if (lines) {
        ctx.globalAlpha = 0.35;
        ctx.fillStyle = lines;
        ctx.fillRect(b.left, from, b.width, tall);
        ctx.globalAlpha = 1;
      }
    } else {
      ctx.fillStyle = p.col(`${name}-fill`);
      ctx.fillRect(b.left + b.width - 3 * r, from, 3 * r, tall);
    }
    if (layer === "words" && tall > 11 * r) {
      ctx.font = font(10 * r, 500);
      ctx.textAlign = "right";
      ctx.textBaseline = "middle";
      haloText(ctx, name, b.left + b.width - 7 * r, (from + to) / 2, p.col(`${name}-ink`), p.col(`${name}-soft`));
    }
  }
  ctx.restore();
}

/** Normal dashed, peak dotted, with names when asked; peak is left out when within 13 px of normal. */
export function drawReferences(u: uPlot, t: Thresholds, named: boolean, p: Palette): void {
  const { ctx, bbox: b } = u;
  const r = ratio();
  const line = (v: number, dash: number[], text: string) => {
    const y = u.valToPos(v, "y", true);
    if (!(y > b.top + 2 && y < b.top + b.height - 1)) return;
    ctx.save();
    ctx.strokeStyle = p.col("normal-line");
    ctx.lineWidth = r;
    ctx.setLineDash(dash.map((d) => d * r));
    ctx.beginPath();
    ctx.moveTo(b.left, y);
    ctx.lineTo(b.left + b.width, y);
    ctx.stroke();
    if (named) {
      ctx.setLineDash([]);
      ctx.font = font(10 * r, 500);
      ctx.textAlign = "left";
      ctx.textBaseline = "bottom";
      haloText(ctx, text, b.left + 4 * r, y - 2 * r, p.col("axis"), p.col("panel"));
    }
    ctx.restore();
  };
  if (t.normal == null || !(t.normal > 0)) return;
  line(t.normal, [5, 4], `normal ${num(t.normal)}`);
  if (named && Math.abs(u.valToPos(t.peak, "y") - u.valToPos(t.normal, "y")) > 13) line(t.peak, [1, 3], `peak ${num(t.peak)}`);
}
