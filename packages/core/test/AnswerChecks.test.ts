/** Checks of an author's own: what they find receives to the model, by the step's option `check` and by filters of a schema. */
import { assert, describe, it } from "@effect/vitest"
import { Cache, Flow, type ModelRequest, type Node, Retry, Runner, Sink, Source, Stack } from "@pipe/core"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Host from "./Host.ts"
import * as Scripted from "./ScriptedModel.ts"

const newStore = () => join(mkdtempSync(join(tmpdir(), "pipe-checks-")), "pipe.db")

/** A run of a step over the row `{ id: "T-7" }`. */
const run = (
  answers: ReadonlyArray<string>,
  make: (ticket: Node.Node<{ readonly id: string }>) => Node.Node<unknown, unknown, LanguageModel.LanguageModel>,
  store = newStore()
) =>
  Effect.gen(function* () {
    const model = Scripted.make((_, index) => Scripted.response(answers[Math.min(index, answers.length - 1)]!))
    const out: Array<unknown> = []
    const failed: Array<string> = []
    const ticket = Source.fromIterable("ticket", [{ id: "T-7" }])
    const flow = Flow.make("checks", {
      settings: { model: "gpt-4o-mini" },
      outputs: [Sink.forEach("out", make(ticket), (value) => Effect.sync(() => void out.push(value)))],
      stack: Stack.make(Cache.layer(), Retry.layer({ base: 1 }), model.layer)
    })
    yield* Runner.run(flow as unknown as Flow.Flow, {
      errorsFile: false,
      observe: (event) => Effect.sync(() => (event._tag === "RowFailed" ? void failed.push(event.message) : undefined))
    }).pipe(Effect.provide(Host.layer({ store })))
    return { out, failed, requests: model.requests }
  })

const told = (request: ModelRequest.Completion | undefined): string => JSON.stringify(request?.messages.at(-1)?.content)

const reply = (prompt = "Reply") => Effect.map(LanguageModel.generateText({ prompt }), ({ text }) => text)

const namesTicket = (answer: string, { ticket }: { readonly ticket: { readonly id: string } }) =>
  answer.includes(ticket.id) || `name the ticket ${ticket.id}`

describe("a step's check", () => {
  it.live("has the model sent again with what it finds, and the row's values at hand", () =>
    Effect.gen(function* () {
      const { out, requests } = yield* run(["Dear customer", "Dear customer, T-7 is done"], (ticket) =>
        Flow.step("reply", { ticket }, () => reply(), { check: namesTicket })
      )
      assert.deepStrictEqual(out, ["Dear customer, T-7 is done"])
      assert.strictEqual(requests.length, 2)
      assert.match(told(requests[1]), /name the ticket T-7/)
    })
  )

  it.live("fails the row where the model does not mend it, with what was found", () =>
    Effect.gen(function* () {
      const { failed, out, requests } = yield* run(["Dear customer"], (ticket) =>
        Flow.step("reply", { ticket }, () => reply(), { check: () => ["too short", "no greeting"] })
      )
      assert.deepStrictEqual(out, [])
      assert.match(failed[0]!, /too short\n?.*no greeting/s)
      assert.strictEqual(requests.length, 2, "the same wrong answer twice ends it")
    })
  )

  it.live("reads the JSON of an object, without what stands around it", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const schema = Schema.Struct({ id: Schema.String })
      const { out } = yield* run(['Sure: {"id":"T-1"}', '```json\n{"id":"T-7"}\n```'], (ticket) =>
        Flow.step(
          "object",
          { ticket },
          () => Effect.map(LanguageModel.generateObject({ prompt: "x", schema }), ({ value }) => value.id),
          {
            check: (answer, { ticket }) => {
              seen.push(answer)
              return (JSON.parse(answer) as { id: string }).id === ticket.id ? undefined : `id is ${ticket.id}`
            }
          }
        )
      )
      assert.deepStrictEqual(out, ["T-7"])
      assert.deepStrictEqual([...new Set(seen)], ['{"id":"T-1"}', '{"id":"T-7"}'])
    })
  )

  it.live("counts for answers that are kept, too: another check sends again", () =>
    Effect.gen(function* () {
      const store = newStore()
      const first = yield* run(["Dear customer"], (ticket) => Flow.step("reply", { ticket }, () => reply()), store)
      assert.strictEqual(first.requests.length, 1)
      const second = yield* run(
        ["T-7 is done"],
        (ticket) => Flow.step("reply", { ticket }, () => reply(), { check: namesTicket }),
        store
      )
      assert.deepStrictEqual(second.out, ["T-7 is done"])
    })
  )
})

describe("a check that says neither yes nor what is wrong", () => {
  for (const [what, wrong] of [
    ["a promise", () => Promise.reject(new Error("late"))],
    ["no", () => false],
    ["an object", () => ({ issue: "x" })]
  ] as const) {
    it.live(`fails the row: ${what}`, () =>
      Effect.gen(function* () {
        const { failed, out } = yield* run(["x"], (ticket) =>
          Flow.step("reply", { ticket }, () => reply(), { check: wrong as never })
        )
        assert.deepStrictEqual(out, [])
        assert.match(failed[0] ?? "", /a check returns true, or what is wrong in words/)
      })
    )
  }
})

describe("a filter of a schema", () => {
  it.live("tells the model its own words, all of them at once", () =>
    Effect.gen(function* () {
      const schema = Schema.Struct({
        from: Schema.Finite.check(Schema.makeFilter((n) => n % 2 === 0 || "from is even")),
        to: Schema.Finite.check(Schema.makeFilter((n) => n > 5 || "to is above 5"))
      })
      const { out, requests } = yield* run(['{"from":1,"to":2}', '{"from":2,"to":6}'], (ticket) =>
        Flow.step("range", { ticket }, () =>
          Effect.map(LanguageModel.generateObject({ prompt: "x", schema }), ({ value }) => value)
        )
      )
      assert.deepStrictEqual(out, [{ from: 2, to: 6 }])
      assert.match(told(requests[1]), /from is even/)
      assert.match(told(requests[1]), /to is above 5/)
    })
  )
})
