import { deepStrictEqual, match } from "node:assert/strict"

const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")

/** Compares what a sample's expression is with what its comment says. `…` in a text is for anything. */
export const same = (actual: unknown, expected: () => unknown): void => {
  const value = expected()
  if (typeof value === "string" && value.includes("…") && actual !== value) {
    match(String(actual), new RegExp(`^${value.split("…").map(escaped).join(".*")}$`))
  } else deepStrictEqual(actual, value)
}
