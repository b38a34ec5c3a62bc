/** Times for people. All moments are unix seconds; a Clock knows the zone in which they are shown. */
const pad = (n: number): string => String(n).padStart(2, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

export interface Clock {
  zone: string;
  /** Seconds east of UTC at that moment. */
  offset(t: number): number;
  /** `15:32`, with seconds `15:32:17` */
  time(t: number, seconds?: boolean): string;
  /** `8 Feb` */
  day(t: number): string;
  /** `8 Feb 15:32`, with year when it is not the year of `now` */
  stamp(t: number, now: number, seconds?: boolean): string;
  /** the clock for today, else the stamp: for rows */
  row(t: number, now: number): string;
}

export function clockFor(zone: string): Clock {
  const format = new Intl.DateTimeFormat("en-GB", {
    timeZone: zone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
  });
  const parts = (t: number) => {
    const p: Record<string, number> = {};
    for (const { type, value } of format.formatToParts(t * 1000)) p[type] = Number(value);
    return { y: p.year ?? 0, mo: p.month ?? 1, d: p.day ?? 1, h: p.hour ?? 0, mi: p.minute ?? 0, s: p.second ?? 0 };
  };
  const offset = (t: number): number => {
    const p = parts(t);
    return Math.round(Date.UTC(p.y, p.mo - 1, p.d, p.h, p.mi, p.s) / 1000 - Math.floor(t));
  };
  const time = (t: number, seconds = false): string => {
    const p = parts(t);
    return `${pad(p.h)}:${pad(p.mi)}${seconds ? `:${pad(p.s)}` : ""}`;
  };
  const day = (t: number): string => {
    const p = parts(t);
    return `${p.d} ${MONTHS[p.mo - 1]}`;
  };
  const stamp = (t: number, now: number, seconds = false): string => {
    const year = parts(t).y;
    return `${day(t)}${year === parts(now).y ? "" : ` ${year}`} ${time(t, seconds)}`;
  };
  const row = (t: number, now: number): string => {
    const [a, b] = [parts(t), parts(now)];
    return a.y === b.y && a.mo === b.mo && a.d === b.d ? time(t) : stamp(t, now);
  };
  return { zone, offset, time, day, stamp, row };
}

/** `H:MM:SS` for facts and rows. */
export function hms(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  return `${Math.floor(s / 3600)}:${pad(Math.floor(s / 60) % 60)}:${pad(s % 60)}`;
}

/** `7 h 43 min` for sentences. */
export function spoken(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${pad(Math.floor(s / 60) % 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

/** `6 h`, `15 min`, `1:30 h`, `2 d`, `2:05 min`, `30 s` for axes; negative with a minus sign. */
export function axisDuration(seconds: number): string {
  if (seconds === 0) return "0";
  const sign = seconds < 0 ? "−" : "";
  const s = Math.round(Math.abs(seconds));
  if (s < 60) return `${sign}${s} s`;
  if (s < 3600) return s % 60 ? `${sign}${Math.floor(s / 60)}:${pad(s % 60)} min` : `${sign}${s / 60} min`;
  if (s % 3600 !== 0) return `${sign}${Math.floor(s / 3600)}:${pad(Math.floor(s / 60) % 60)} h`;
  return s < 172800 || s % 86400 !== 0 ? `${sign}${s / 3600} h` : `${sign}${s / 86400} d`;
}

/** `8 min` or `60 s`: how a sampling step is said. */
export function stepText(seconds: number): string {
  return seconds > 60 && seconds % 60 === 0 ? `${seconds / 60} min` : `${seconds} s`;
}

/** Unix seconds or RFC 3339 from an address; null when it is neither. */
export function parseMoment(text: string | null | undefined): number | null {
  if (!text) return null;
  if (/^\d+(\.\d+)?$/.test(text)) return Math.floor(Number(text));
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? null : Math.floor(ms / 1000);
}

export const unix = (rfc3339: string): number => Math.floor(Date.parse(rfc3339) / 1000);
export const rfc3339 = (t: number): string => new Date(t * 1000).toISOString().replace(/\.\d+Z$/, "Z");
