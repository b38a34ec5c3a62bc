/** What went wrong, in words for people; `kind` decides which picture a panel shows. */
export class QueryError extends Error {
  constructor(
    readonly kind: "failed" | "denied" | "session",
    message: string,
  ) {
    super(message);
    this.name = "QueryError";
  }
}

const PATIENCE_S = 30;

export type Ask = <T>(query: string, variables?: Record<string, unknown>, signal?: AbortSignal) => Promise<T>;

/** One GraphQL request. Throws QueryError; errors beside usable data are an error too: nothing is shown as whole that is not. */
export const ask: Ask = async <T>(query: string, variables: Record<string, unknown> = {}, signal?: AbortSignal): Promise<T> => {
  const limit = AbortSignal.timeout(PATIENCE_S * 1000);
  let answer: Response;
  try {
    answer = await fetch("/query", {
      method: "POST",
      credentials: "same-origin",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: JSON.stringify({ query, variables }),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
  } catch (e) {
    if (signal?.aborted) throw e;
    if (limit.aborted) throw new QueryError("failed", `The server did not answer within ${PATIENCE_S} s.`);
    throw new QueryError("failed", "The server cannot be reached. Check the connection and try again.");
  }
  if (answer.status === 401) throw new QueryError("session", "Your session has ended. Load the page again to log in.");
  if (answer.status === 403) throw new QueryError("denied", "Your role does not allow to see these data.");
  let body: { data?: T | null; errors?: { message: string }[] };
  try {
    body = await answer.json();
  } catch {
    throw new QueryError("failed", `The server answered ${answer.status} ${answer.statusText} instead of data.`);
  }
  if (body.errors?.length) {
    const words = body.errors
      .map((e) => e.message)
      .join(" ")
      .slice(0, 500);
    throw new QueryError(/not allowed|forbidden|unauthorized|permission/i.test(words) ? "denied" : "failed", words);
  }
  if (!answer.ok || body.data == null) throw new QueryError("failed", `The server answered ${answer.status} without data.`);
  return body.data;
};

export const errorOf = (e: unknown): QueryError =>
  e instanceof QueryError ? e : new QueryError("failed", e instanceof Error ? e.message : String(e));
export const aborted = (e: unknown): boolean => e instanceof DOMException && e.name === "AbortError";
