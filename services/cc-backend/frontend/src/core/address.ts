/** Query string with these parameters set (null: taken out); all others stay. Without question mark. */
export function withParams(search: string, change: Record<string, string | null>): string {
  const q = new URLSearchParams(search);
  for (const [k, v] of Object.entries(change)) {
    if (v == null) q.delete(k);
    else q.set(k, v);
  }
  return q.toString();
}
