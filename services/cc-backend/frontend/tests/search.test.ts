import { describe, expect, test } from "vitest";
import { search } from "../src/core/search";

const NOW = 1700000000;
const MONTH = "startTime=1697408000-1700000000";

describe("search bar (web-ui 4.4)", () => {
  test.each([
    ["jobId:12", "jobId=12"],
    ["  12  ", "jobId=12"],
    ["jobName: train ", `${MONTH}&jobName=train`],
    ["train", `${MONTH}&jobName=train`],
    ["projectId:p1", "projectMatch=eq&project=p1"],
    ["arrayJobId:7", `${MONTH}&arrayJobId=7`],
    ["username:ali", "user=ali&userMatch=contains"],
    // PITFALL: terms with colons and signs of the address
    ["jobName:a:b&c#d", `${MONTH}&jobName=a%3Ab%26c%23d`],
  ])("%s", (text, query) => expect(search(text, NOW, 4)).toEqual({ href: `/monitoring/jobs/?${query}` }));
  test.each([
    ["", "Empty search"],
    ["foo:bar", "Unknown search type: foo"],
    ["jobid:12", "Unknown search type: jobid"],
  ])("%s is refused in words", (text, words) => expect((search(text, NOW, 4) as { message: string }).message).toContain(words));
  test("a plain user does not search users", () => expect(search("username:bob", NOW, 2)).toEqual({ message: "Missing Access Rights" }));
});
