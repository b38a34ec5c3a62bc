import type { Params } from "../core/filters";
import type { Settings } from "../core/settings";
import type { Cluster, Resampling } from "../core/types";

export interface User {
  username: string;
  name: string;
  roles: string[];
  projects: string[];
  level: number;
  anonymous: boolean;
}
export interface MenuEntry {
  label: string;
  href: string;
  group: string;
  children?: { label: string; href: string }[];
}

/** The block that the server writes into the page (cc_backend/pages/README.md). */
export interface PageData {
  page: string;
  title: string;
  version: string;
  now: number;
  params: Record<string, string | number>;
  presets: Record<string, string[] | number>;
  user: User | null;
  menu: MenuEntry[];
  clusters: Cluster[];
  settings: Settings;
  resampling: Resampling | null;
  emissionConstant: number;
  message: { kind: string; title: string; text: string; status: number } | null;
}

export const LEVELS = { api: 1, user: 2, manager: 3, support: 4, admin: 5 } as const;

export function readPage(root: Document): PageData {
  const text = root.getElementById("page")?.textContent;
  if (!text) throw new Error("The page came without its data block.");
  const raw = JSON.parse(text) as Partial<PageData>;
  return {
    page: raw.page ?? "error",
    title: raw.title ?? "ClusterCockpit",
    version: raw.version ?? "",
    now: raw.now ?? Math.floor(Date.now() / 1000),
    params: raw.params ?? {},
    presets: raw.presets ?? {},
    user: raw.user ?? null,
    menu: raw.menu ?? [],
    clusters: raw.clusters ?? [],
    settings: raw.settings ?? {},
    resampling: raw.resampling ?? null,
    emissionConstant: raw.emissionConstant ?? 0,
    message: raw.message ?? null,
  };
}

/** Presets that are lists of texts: what a filter reads. */
export function filterPresets(page: PageData): Params {
  return Object.fromEntries(Object.entries(page.presets).filter((e): e is [string, string[]] => Array.isArray(e[1])));
}
