/** What the live display says, from the events of a run. */
import { assert, describe, it } from "@effect/vitest"
import type { RunEvent } from "@pipe/core"
import * as View from "../src/view/View.ts"

const progress = (fields: Partial<typeof RunEvent.Progress.Type>): typeof RunEvent.Progress.Type => ({
  _tag: "Progress",
  run: "r",
  milliseconds: 60_000,
  nodes: [{ name: "answer", kind: "Step", running: 16, done: 0, reused: 0, failed: 0, skipped: 0, total: 100 }],
  spent: 0n,
  saved: 0n,
  answers: { provider: 0, cache: 0, shared: 0, semantic: 0 },
  waiting: 0,
  waited: 0,
  ...fields
})

const shown = (fields: Partial<typeof RunEvent.Progress.Type>): string => View.render(progress(fields), 300).join("\n")

describe("what calls wait for (D7)", () => {
  it("is a server that is down, in its own words", () => {
    const until = Date.now() + 2_000
    const failure = "cannot connect to http://127.0.0.1:9 (ECONNREFUSED): is the address right, and is the server up?"
    const text = shown({ waiting: 16, waitingFor: { reason: "retry", model: "m", failure, calls: 16, until } })
    assert.match(text, /16 to be retried within [12](?:\.\d)? s \(cannot connect to http:\/\/127\.0\.0\.1:9/)
    assert.notInclude(text, "limit")
  })

  it("is a limit, and of which model", () => {
    const until = Date.now() + 34_000
    const text = shown({ waiting: 9, waitingFor: { reason: "rate limit", model: "gpt-4o-mini", calls: 7, until } })
    assert.match(text, /7 waiting for the limit of gpt-4o-mini, 3[34](?:\.\d)? s, 2 for others/)
  })

  it("is nothing where none waits", () => {
    assert.notMatch(shown({}), /waiting|again/)
  })
})

describe("the width of a terminal", () => {
  const full = progress({
    nodes: [
      { name: "questions", kind: "Source", running: 0, done: 189, reused: 0, failed: 0, skipped: 0, total: 301 },
      {
        name: "a step with a name that is longer than most are",
        kind: "Step",
        running: 16,
        done: 123_456,
        reused: 0,
        failed: 123,
        skipped: 0,
        total: 1_234_567
      }
    ],
    spent: 16_400_000_000n,
    saved: 1_000_000_000n,
    left: 5_000_000_000_000n,
    workers: 4,
    waiting: 9,
    waitingFor: { reason: "rate limit", model: "gpt-4o-mini", calls: 7, until: Date.now() + 34_000 }
  })

  it("holds all that is said, on as many lines as it takes", () => {
    for (const columns of [60, 80, 120, 300]) {
      const lines = View.render(full, columns)
      for (const line of lines) assert.isBelow(line.length, columns, line)
      const text = lines.join("\n").replace(/\n */g, " · ")
      for (const words of [
        "189/301",
        "123579/1234567",
        "123 failed",
        "$0.0164 spent",
        "$5.00 left of the budget",
        "$0.001 saved",
        "4 workers"
      ])
        assert.include(text, words, `${columns}`)
      assert.match(text, /7 waiting for the limit of gpt-4o-mini, 3[34](?:\.\d)? s/)
    }
  })

  it("cuts what is wider than a very narrow one", () => {
    for (let columns = 8; columns < 60; columns++)
      for (const line of View.render(full, columns)) assert.isBelow(line.length, columns, `${columns}: ${line}`)
  })
})
