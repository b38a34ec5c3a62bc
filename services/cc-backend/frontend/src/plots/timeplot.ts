import uPlot from "uplot";
import { type Curve, loneSamples } from "../core/curve";
import { num, withUnit } from "../core/numbers";
import { type TimeMode, timeLabels, timeStep, timeTicks, yRange } from "../core/ticks";
import { type Clock, axisDuration } from "../core/times";
import type { Value } from "../core/types";
import { drawReferences, drawZones, font, ratio } from "./canvas";
import type { Palette } from "./colours";

export interface TipRows {
  head: string;
  rows: [string, string][];
}
export interface Env {
  palette: Palette;
  clock: Clock;
  now: number;
  lineWidth: number;
  tip(at: { x: number; y: number } | null, rows?: TipRows): void;
}
export interface Window {
  min: number;
  max: number;
}

export interface TimePlotOptions {
  /** unix seconds of the first sample */
  start: number;
  /** unix seconds of the right end, for "back" */
  end: number;
  mode: TimeMode;
  /** plots with the same key share the pointer */
  sync: string;
  zones: boolean;
  tinted: boolean;
  /** seconds since `start` */
  window: Window | null;
  onZoom?(w: Window | null): void;
}

const MOST_ROWS = 12;
export const MANY_LINES = 8;

/** What the tooltip says at sample `i`: time since start and by the clock, then the lines. */
export function tipAt(
  c: Curve,
  i: number,
  o: Pick<TimePlotOptions, "start" | "end" | "mode">,
  clock: Clock,
  now: number,
  focused: number | null,
): TipRows {
  const x = c.x[i] ?? 0;
  const relative = o.mode === "back" ? axisDuration(x + o.start - o.end) : axisDuration(x);
  const at = `${relative} · ${clock.stamp(o.start + x, now, c.timestep < 60)}`;
  let order = c.lines.map((_, k) => k);
  if (c.kind === "statistics") order.reverse();
  else if (order.length > MOST_ROWS) order = focused == null ? order.slice(0, MOST_ROWS) : [focused];
  const value = (k: number) => (c.lines[k]?.[i] == null ? "no data" : withUnit(c.lines[k]?.[i], c.unit));
  return { head: at, rows: order.map((k) => [c.names[k] ?? `#${k}`, value(k)]) };
}

export function axisLook(p: Palette): uPlot.Axis {
  return {
    font: font(),
    stroke: p.col("axis"),
    ticks: { show: false },
    grid: { stroke: p.col("grid"), width: 1 },
    border: { show: false },
  };
}

function timeAxis(env: Env, o: Pick<TimePlotOptions, "start" | "end" | "mode">, small: boolean): uPlot.Axis {
  const origin = o.mode === "clock" ? o.start : o.mode === "back" ? o.start - o.end : 0;
  const width = (u: uPlot) => u.bbox.width / ratio();
  return {
    ...axisLook(env.palette),
    font: font(small ? 10 : 11),
    size: small ? 18 : 22,
    gap: small ? 2 : 3,
    grid: { show: false },
    splits: (u, _i, min, max) =>
      timeTicks(min + origin, max + origin, width(u), o.mode === "clock" ? env.clock.offset(o.start) : 0, o.mode !== "clock").map(
        (t) => t - origin,
      ),
    filter: (_u, s) => s,
    values: (u, splits) => {
      const { min = 0, max = 0 } = u.scales.x ?? {};
      return timeLabels(
        splits.map((t) => t + origin),
        o.mode,
        timeStep((max ?? 0) - (min ?? 0), width(u)),
        env.clock,
      );
    },
  };
}

/** Dots for samples that no line can show: those without a neighbour. */
function dots(line: readonly Value[], size: number): uPlot.Series.Points {
  const lone = loneSamples(line);
  return lone.length ? { show: true, filter: () => lone, size, width: 0 } : { show: false };
}

function lineSeries(c: Curve, p: Palette, width: number): uPlot.Series[] {
  const look = (line: readonly Value[], stroke: string, w: number): uPlot.Series => ({
    stroke,
    width: w,
    spanGaps: false,
    points: { ...dots(line, Math.max(4, 3 * w)), fill: stroke },
  });
  if (c.kind === "statistics") {
    const thin = Math.min(width, 1.25);
    const [min = [], middle = [], max = []] = c.lines;
    return [look(min, p.col("stat-min"), thin), look(middle, p.col("stat-med"), width), look(max, p.col("stat-max"), thin)];
  }
  const many = c.lines.length > MANY_LINES;
  return c.lines.map((line, k) => ({
    ...look(line, many ? p.col("s1") : p.line(c.colours[k] ?? k), many ? Math.min(width, 1) : width),
    alpha: many ? 0.4 : 1,
  }));
}

/** The pointer reports to the tooltip; the nearest line is in focus where there are many. */
function pointerHooks(c: Curve, env: Env, o: Pick<TimePlotOptions, "start" | "end" | "mode">): Partial<uPlot.Hooks.Arrays> {
  let focused: number | null = null;
  return {
    setSeries: [
      (_u, i) => {
        focused = i == null ? null : i - 1;
      },
    ],
    ready: [
      (u) => {
        u.over.addEventListener("mouseleave", () => env.tip(null));
        u.over.addEventListener("mousemove", (e) => {
          const i = u.cursor.idx;
          if (i != null) env.tip({ x: e.clientX, y: e.clientY }, tipAt(c, i, o, env.clock, env.now, focused));
        });
      },
    ],
  };
}

/** Plots share the pointer, not the drag: a zoom would otherwise be reported by each of them. */
function shared(key: string): uPlot.Cursor.Sync {
  return { key, setSeries: false, filters: { pub: (type) => type === "mousemove" || type === "mouseleave", sub: () => true } };
}

/** Time plot of a panel: axes, zones, zoom. */
export function timePlot(host: HTMLElement, width: number, height: number, c: Curve, o: TimePlotOptions, env: Env): uPlot {
  const p = env.palette;
  const t = c.thresholds;
  const few = c.kind === "statistics" || c.lines.length <= 2;
  const zones = o.zones && few && t != null;
  const base = yRange(t, c.top);
  let yWindow: [number, number] | null = null;
  // A node plot reaches to "now" even where the last sample is a step older; a job plot ends with its data.
  const whole: Window = { min: 0, max: Math.max(c.x.at(-1) ?? 0, c.timestep, o.mode === "job" ? 0 : o.end - o.start) };
  const pointer = pointerHooks(c, env, o);
  return new uPlot(
    {
      width,
      height,
      padding: [8, 12, 0, 0],
      legend: { show: false },
      pxAlign: 0,
      cursor: {
        sync: shared(o.sync),
        points: { size: 5, width: 1 },
        focus: { prox: 24 },
        drag: { x: true, y: false, uni: 20 },
        bind: {
          // With shift the box zooms both axes.
          mousedown: (u, _t, handler) => (e) => {
            if (u.cursor.drag) u.cursor.drag.y = e.shiftKey;
            handler(e);
            return null;
          },
          dblclick: (u) => () => {
            yWindow = null;
            u.setScale("x", whole);
            o.onZoom?.(null);
            return null;
          },
        },
      },
      focus: { alpha: c.lines.length > 1 && c.kind === "lines" ? 0.3 : 1 },
      scales: { x: { time: false, min: (o.window ?? whole).min, max: (o.window ?? whole).max }, y: { range: () => yWindow ?? base } },
      axes: [timeAxis(env, o, false), { ...axisLook(p), size: 38, gap: 4, space: 34, values: (_u, s) => s.map((v) => num(v)) }],
      series: [{}, ...lineSeries(c, p, env.lineWidth)],
      bands: c.kind === "statistics" ? [{ series: [3, 1], fill: p.col("stat-band") }] : [],
      hooks: {
        ...pointer,
        setSelect: [
          (u) => {
            if (u.select.width < 4) return;
            const w = { min: u.posToVal(u.select.left, "x"), max: u.posToVal(u.select.left + u.select.width, "x") };
            if (u.cursor.drag?.y && u.select.height > 4)
              yWindow = [u.posToVal(u.select.top + u.select.height, "y"), u.posToVal(u.select.top, "y")];
            o.onZoom?.(w);
          },
        ],
        drawClear: [
          (u) => {
            if (zones) drawZones(u, t, o.tinted ? "ruler" : "ground", p);
          },
        ],
        draw: [
          (u) => {
            if (!t) return;
            drawReferences(u, t, true, p);
            if (zones) drawZones(u, t, "words", p);
          },
        ],
      },
    },
    [c.x, ...c.lines] as uPlot.AlignedData,
    host,
  );
}

/** Small plot of a list cell; with axes where it is tall enough (comfortable density). */
export function sparkPlot(
  host: HTMLElement,
  width: number,
  height: number,
  c: Curve,
  o: Pick<TimePlotOptions, "start" | "end" | "mode" | "sync">,
  env: Env,
): uPlot {
  const p = env.palette;
  const tall = height > 90;
  const axes: uPlot.Axis[] = tall
    ? [timeAxis(env, o, true), { ...axisLook(p), font: font(10), size: 32, gap: 4, space: 26, values: (_u, s) => s.map((v) => num(v)) }]
    : [{ show: false }, { show: false }];
  const base = yRange(c.thresholds, c.top);
  return new uPlot(
    {
      width,
      height,
      padding: tall ? [6, 8, 0, 0] : [3, 3, 2, 3],
      legend: { show: false },
      pxAlign: 0,
      cursor: { sync: shared(o.sync), points: { size: 4, width: 1 }, drag: { x: false, y: false } },
      scales: { x: { time: false }, y: { range: () => base } },
      axes,
      series: [
        {},
        ...lineSeries(c, p, Math.min(1.25, env.lineWidth)).map((s) => ({
          ...s,
          ...(c.lines.length === 1 && { fill: p.col("stat-band") }),
        })),
      ],
      bands: c.kind === "statistics" ? [{ series: [3, 1], fill: p.col("stat-band") }] : [],
      hooks: {
        ...pointerHooks(c, env, o),
        draw: [
          (u) => {
            if (c.thresholds) drawReferences(u, c.thresholds, false, p);
          },
        ],
      },
    },
    [c.x, ...c.lines] as uPlot.AlignedData,
    host,
  );
}
