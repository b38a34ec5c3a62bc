/** Looks of states: tone (a colour group of the design) and glyph, so that a state is never told by colour alone. */
export type Tone = "live" | "good" | "warn" | "bad" | "mute";
export type Glyph = "play" | "ring" | "bar" | "tick" | "square" | "clock" | "cross" | "full" | "half" | "diamond" | "question";

const LOOKS: Record<string, [Tone, Glyph]> = {
  running: ["live", "play"],
  pending: ["mute", "ring"],
  suspended: ["warn", "bar"],
  completed: ["good", "tick"],
  cancelled: ["mute", "square"],
  preempted: ["warn", "square"],
  timeout: ["warn", "clock"],
  deadline: ["warn", "clock"],
  failed: ["bad", "cross"],
  out_of_memory: ["bad", "cross"],
  node_fail: ["bad", "cross"],
  boot_fail: ["bad", "cross"],
  allocated: ["live", "full"],
  mixed: ["live", "half"],
  idle: ["mute", "ring"],
  reserved: ["warn", "diamond"],
  down: ["bad", "cross"],
  unknown: ["mute", "question"],
  notindb: ["mute", "question"],
  full: ["good", "tick"],
  partial: ["warn", "half"],
};

export const JOB_STATES = [
  "pending",
  "running",
  "completed",
  "failed",
  "timeout",
  "deadline",
  "preempted",
  "suspended",
  "cancelled",
  "out_of_memory",
  "boot_fail",
  "node_fail",
] as const;
export const NODE_STATES = ["allocated", "idle", "reserved", "mixed", "down", "unknown", "notindb"] as const;

export function look(state: string): { tone: Tone; glyph: Glyph; word: string } {
  const [tone, glyph] = LOOKS[state] ?? (["mute", "question"] as const);
  return { tone, glyph, word: state === "notindb" ? "not in database" : state.replaceAll("_", " ") };
}

/** Word for the health of a node's metrics; null when all is well. */
export function healthWord(health: string): { state: string; word: string } | null {
  if (health === "full") return null;
  if (health === "failed") return { state: "failed", word: "No Metrics" };
  if (health === "partial") return { state: "partial", word: "Missing Metric(s)" };
  return { state: "unknown", word: "Metric Health Unknown" };
}
