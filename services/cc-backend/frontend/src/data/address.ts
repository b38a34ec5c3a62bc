import { withParams } from "../core/address";

/** Keeps the address bar up to date without a new entry in the history. */
export function rewriteAddress(change: Record<string, string | null>): void {
  const q = withParams(location.search, change);
  history.replaceState(null, "", q ? `?${q}` : location.pathname);
}
