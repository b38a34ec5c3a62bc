/** Where a text of the search bar leads (web-ui 4.4, the part that needs no look into the database), or what is wrong with it. */
export type Found = { href: string } | { message: string };

const MONTH = 30 * 86400;
const MANAGER = 3;

/** `now`: unix seconds; `level`: of the user. Everything after the first colon is the term, so job names may hold colons. */
export function search(input: string, now: number, level: number): Found {
  const text = input.trim();
  if (!text) return { message: "Empty search" };
  const jobs = (params: Record<string, string>): Found => ({ href: `/monitoring/jobs/?${new URLSearchParams(params)}` });
  const month = `${now - MONTH}-${now}`;
  const m = /^([A-Za-z]+)\s*:\s*(.+)$/.exec(text);
  if (!m) return /^\d+$/.test(text) ? jobs({ jobId: text }) : jobs({ startTime: month, jobName: text });
  const [, keyword = "", term = ""] = m;
  switch (keyword) {
    case "jobId":
      return jobs({ jobId: term });
    case "jobName":
      return jobs({ startTime: month, jobName: term });
    case "projectId":
      return jobs({ projectMatch: "eq", project: term });
    case "arrayJobId":
      return jobs({ startTime: month, arrayJobId: term });
    case "username":
      return level >= MANAGER ? jobs({ user: term, userMatch: "contains" }) : { message: "Missing Access Rights" };
    default:
      return { message: `Unknown search type: ${keyword}. Known are jobId, jobName, projectId, arrayJobId and username.` };
  }
}
