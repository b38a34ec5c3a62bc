import { parseMoment } from "./times";

/** Fixed ends from the page block (numbers) or the address (texts); null when both are not there. */
export function presetSpan(p: { from?: unknown; to?: unknown }): { from: number; to: number } | null {
  const end = (v: unknown): number | null => (typeof v === "number" ? v : typeof v === "string" ? parseMoment(v) : null);
  const [from, to] = [end(p.from), end(p.to)];
  return from != null && to != null && from < to ? { from, to } : null;
}
