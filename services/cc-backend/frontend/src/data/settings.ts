/** Stores one setting of the user on the server. A failure costs only the memory of it: the page has applied the value already. */
export function saveSetting(key: string, value: unknown): void {
  const body = new URLSearchParams({ key, value: JSON.stringify(value) });
  void fetch("/frontend/configuration/", { method: "POST", credentials: "same-origin", body, keepalive: true }).catch(() => undefined);
}
