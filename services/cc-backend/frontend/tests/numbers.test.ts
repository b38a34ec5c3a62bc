import { describe, expect, test } from "vitest";
import { THIN, count, fixed, num, plural, unitText, withUnit } from "../src/core/numbers";

describe("three significant digits, never fewer than the integer part", () => {
  test.each([
    [0.315, "0.315"],
    [7.53, "7.53"],
    [41.6, "41.6"],
    [531, "531"],
    [2755, "2755"],
    [63592, `63${THIN}592`],
    [124000, `124${THIN}k`],
    [1.5e9, `1.5${THIN}G`],
    [0, "0"],
    [100, "100"],
    [41, "41"],
    [9.996, "10"],
    [99.96, "100"],
    [999.6, "1000"],
    [9999.6, `10${THIN}000`],
    [99999.7, `100${THIN}k`],
    [0.00123, "0.00123"],
    [0.0009, `<${THIN}0.001`],
    [-41.6, "−41.6"],
    [-63592, `−63${THIN}592`],
    [null, "–"],
    [undefined, "–"],
    [Number.NaN, "–"],
  ])("%s is %s", (v, text) => expect(num(v as number)).toBe(text));
});

describe("a value that stands alone", () => {
  test.each([
    [9216, "G", "F/s", `9.22${THIN}TF/s`],
    [0.315, "G", "F/s", `315${THIN}MF/s`],
    [999.7, "G", "B/s", `1${THIN}TB/s`],
    [2600, "M", "Hz", `2.6${THIN}GHz`],
    [0.0000002, "G", "B", `<${THIN}0.001${THIN}MB`],
    [70.8, "", "%", `70.8${THIN}%`],
    [1.57, "", "IPC", `1.57${THIN}IPC`],
    [18.4, "", "", "18.4"],
    [0.5, "", "W", `0.5${THIN}W`],
    [1300, "G", "Flops/s", `1.3${THIN}TF/s`],
  ])("%s %s%s is %s", (v, prefix, base, text) => expect(withUnit(v, { prefix, base })).toBe(text));
  test("no value is a dash without unit", () => expect(withUnit(null, { prefix: "G", base: "B" })).toBe("–"));
});

test("fixed decimals keep their zeros", () => {
  expect(fixed(1.9, 2)).toBe("1.90");
  expect(fixed(12345.678, 2)).toBe(`12${THIN}345.68`);
  expect(fixed(-1, 0)).toBe("−1");
});
test("counts have no prefix", () => expect(count(124512)).toBe(`124${THIN}512`));
test("plural", () => expect([plural(1, "Job"), plural(0, "Job"), plural(2, "Job")]).toEqual(["1 Job", "0 Jobs", "2 Jobs"]));
test("units", () =>
  expect([unitText({ prefix: "G", base: "B/s" }), unitText({ prefix: null, base: "W" }), unitText(null)]).toEqual(["GB/s", "W", ""]));
