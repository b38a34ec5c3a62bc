import type { MetricValue, NamedMetric, SubCluster } from "./types";

/** Point of a job roofline; `t` runs from 0 (start) to 1 (end). Intensity in flop/byte, performance in the unit of flops_any. */
export interface RoofPoint {
  x: number;
  y: number;
  t: number;
  host: string;
  at: number;
}
export interface Roof {
  bandwidth: number;
  scalar: number;
  simd: number;
}

const POWERS: Record<string, number> = { "": 1, k: 1e3, K: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15 };
/** In units of 10⁹: GF/s and GB/s. */
const giga = (v: MetricValue): number => (v.value * (POWERS[v.unit.prefix ?? ""] ?? 1)) / 1e9;

export function roofOf(sub: SubCluster | null): Roof | null {
  if (!sub?.memoryBandwidth || !sub.flopRateSimd || !sub.flopRateScalar) return null;
  const roof = { bandwidth: giga(sub.memoryBandwidth), scalar: giga(sub.flopRateScalar), simd: giga(sub.flopRateSimd) };
  return roof.bandwidth > 0 && roof.simd > 0 && roof.scalar > 0 ? roof : null;
}

/** Per node and step: flops_any / mem_bw against flops_any. Points that a logarithm cannot show are left out. */
export function roofPoints(flops: NamedMetric | undefined, bandwidth: NamedMetric | undefined): RoofPoint[] {
  const out: RoofPoint[] = [];
  for (const a of flops?.metric.series ?? []) {
    const b = bandwidth?.metric.series?.find((s) => s.hostname === a.hostname);
    const data = a.data ?? [];
    if (!b?.data) continue;
    for (let i = 0; i < data.length; i += 1) {
      const f = data[i];
      const w = b.data[i];
      if (f == null || w == null || !(f > 0) || !(w > 0)) continue;
      out.push({ x: f / w, y: f, t: data.length > 1 ? i / (data.length - 1) : 0, host: a.hostname, at: i * (flops?.metric.timestep ?? 0) });
    }
  }
  return out;
}

/** Upper end of the performance axis: simd peak, rounded up to a full thousand, and room for values above it. */
export function roofTop(roof: Roof | null, points: RoofPoint[]): number {
  const highest = points.reduce((m, p) => Math.max(m, p.y), 0);
  const top = roof ? Math.ceil(roof.simd / 1000) * 1000 : 10000;
  return Math.max(top, highest * 1.2);
}
