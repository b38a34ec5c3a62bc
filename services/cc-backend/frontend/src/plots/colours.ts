/** Colours as a canvas wants them: design tokens are resolved through a probe element, sequential scales are facts of matplotlib. */
export interface Palette {
  col(token: string): string;
  /** colour of line i: the configured list, else the palette of the design */
  line(i: number): string;
  viridis(t: number): string;
  heat(t: number): string;
  dark(): boolean;
  /** after a change of theme */
  forget(): void;
}

const VIRIDIS = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];
const CIVIDIS = ["#002051", "#11366c", "#3c4d6e", "#62646f", "#7f7c75", "#9a9478", "#bbaf71", "#e2cb5c", "#fdea45"];

export function makePalette(doc: Document, scheme: string[] | null): Palette {
  const probe = doc.createElement("i");
  probe.hidden = true;
  doc.body.append(probe);
  const memo = new Map<string, string>();
  const col = (token: string): string => {
    const known = memo.get(token);
    if (known) return known;
    probe.style.color = `var(--${token})`;
    const value = getComputedStyle(probe).color;
    memo.set(token, value);
    return value;
  };
  const dark = (): boolean => {
    const scheme = getComputedStyle(doc.documentElement).colorScheme;
    return scheme === "dark" || (scheme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  };
  // On light ground the pale end is cut off, on dark ground the dark end; amounts run towards contrast with the ground.
  const viridis = (t: number) => mix(VIRIDIS, dark() ? 0.25 + 0.75 * t : 0.8 * t);
  const heat = (t: number) => mix(CIVIDIS, dark() ? 0.22 + 0.78 * t : 0.86 * (1 - t));
  const line = (i: number) => (scheme?.length ? (scheme[i % scheme.length] ?? col("s1")) : col(`s${(i % 8) + 1}`));
  return { col, line, viridis, heat, dark, forget: () => memo.clear() };
}

function mix(stops: readonly string[], at: number): string {
  const x = Math.min(1, Math.max(0, at)) * (stops.length - 1);
  const i = Math.min(stops.length - 2, Math.floor(x));
  const part = (s: string | undefined, k: number) => parseInt((s ?? "").slice(k, k + 2), 16);
  const channel = (k: number) => Math.round(part(stops[i], k) * (1 - (x - i)) + part(stops[i + 1], k) * (x - i));
  return `rgb(${channel(1)}, ${channel(3)}, ${channel(5)})`;
}
