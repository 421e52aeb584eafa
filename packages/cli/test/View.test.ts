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
