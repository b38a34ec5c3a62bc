/** Single keys of the interface (web-design 8), only those that do something now. */
export const SHORTCUTS: readonly (readonly [keys: string, does: string])[] = [
  ["/", "Search"],
  ["g j", "Jobs"],
  ["g n", "Nodes"],
  ["j k", "Next or previous row"],
  ["Enter", "Open the row"],
  ["f", "Filters"],
  ["r", "Refresh"],
  ["d", "Density: comfortable, compact, dense"],
  ["t", "Job time or clock time"],
  ["z", "Reset zoom"],
  ["← →", "In a plot: move the pointer"],
  ["Esc", "Close"],
  ["?", "This list"],
];

/** What a key press means; `pending` is an unfinished `g`. */
export type Command =
  | "search"
  | "help"
  | "filters"
  | "refresh"
  | "density"
  | "time"
  | "zoom"
  | "next"
  | "previous"
  | "open"
  | "go-jobs"
  | "go-nodes"
  | "wait"
  | null;
export function command(key: string, pending: boolean): Command {
  if (pending) return key === "j" ? "go-jobs" : key === "n" ? "go-nodes" : null;
  switch (key) {
    case "/":
      return "search";
    case "?":
      return "help";
    case "f":
      return "filters";
    case "r":
      return "refresh";
    case "d":
      return "density";
    case "t":
      return "time";
    case "z":
      return "zoom";
    case "j":
      return "next";
    case "k":
      return "previous";
    case "Enter":
      return "open";
    case "g":
      return "wait";
    default:
      return null;
  }
}
