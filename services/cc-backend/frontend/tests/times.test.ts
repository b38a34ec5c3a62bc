import { describe, expect, test } from "vitest";
import { axisDuration, clockFor, hms, parseMoment, rfc3339, spoken, stepText } from "../src/core/times";

const T = Date.UTC(2023, 1, 8, 14, 32, 17) / 1000;
const berlin = clockFor("Europe/Berlin");
const utc = clockFor("UTC");

test("a clock shows its zone, and knows summer time", () => {
  expect(berlin.time(T)).toBe("15:32");
  expect(utc.time(T, true)).toBe("14:32:17");
  expect(berlin.offset(T)).toBe(3600);
  expect(berlin.offset(Date.UTC(2023, 6, 1) / 1000)).toBe(7200);
  expect(utc.time(Date.UTC(2023, 0, 1) / 1000)).toBe("00:00");
});
test("stamps carry the year only when it is another one", () => {
  expect(berlin.stamp(T, T)).toBe("8 Feb 15:32");
  expect(berlin.stamp(T, T + 400 * 86400)).toBe("8 Feb 2023 15:32");
  expect(berlin.stamp(T, T, true)).toBe("8 Feb 15:32:17");
});
test("rows show the clock today, else the stamp", () => {
  expect(berlin.row(T, T + 3600)).toBe("15:32");
  expect(berlin.row(T, T + 86400)).toBe("8 Feb 15:32");
});
test("durations in facts", () =>
  expect([hms(27799), hms(59), hms(-3), hms(360000)]).toEqual(["7:43:19", "0:00:59", "0:00:00", "100:00:00"]));
test("durations in sentences", () =>
  expect([spoken(27799), spoken(50), spoken(900), spoken(200000)]).toEqual(["7 h 43 min", "50 s", "15 min", "2 d 7 h"]));

// web-ui 8.12, PITFALL: minutes are padded (1:05 h, not 1:5h)
describe("durations on axes", () => {
  test.each([
    [0, "0"],
    [900, "15 min"],
    [21600, "6 h"],
    [5400, "1:30 h"],
    [3900, "1:05 h"],
    [-10800, "−3 h"],
    [172800, "2 d"],
    [180000, "50 h"],
    [30, "30 s"],
    [125, "2:05 min"],
  ])("%s is %s", (s, text) => expect(axisDuration(s)).toBe(text));
});
test("sampling step", () => expect([stepText(60), stepText(480), stepText(90)]).toEqual(["60 s", "8 min", "90 s"]));

// web-ui 1.1, PITFALL: from and to as unix seconds and as RFC 3339
test("moments of an address", () => {
  expect(parseMoment("1700000000")).toBe(1700000000);
  expect(parseMoment("2023-11-14T22:13:20Z")).toBe(1700000000);
  expect(parseMoment("yesterday")).toBeNull();
  expect(parseMoment("")).toBeNull();
  expect(rfc3339(1700000000)).toBe("2023-11-14T22:13:20Z");
});
