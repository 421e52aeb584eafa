/** Answers of a provider, recorded with a key and played without one. */
import { assert, describe, it } from "@effect/vitest"
import { ModelFailure, ModelResponse } from "@pipe/core"
import { Recording } from "@pipe/plugins/testing"
import { Effect } from "effect"
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NimbusKit from "./NimbusKit.ts"
import * as Wire from "./Wire.ts"

const KEY = "nimbus-key-8c1f0a2b7d"

const file = () => join(mkdtempSync(join(tmpdir(), "pipe-recorded-")), "answers.recorded.json")

const ask = (served: Recording.Served, prompt: string) =>
  Wire.ask(NimbusKit.layer({ model: "nimbus-1", ...served }), Wire.question(prompt))

/** A provider that repeats the key it was sent, and gives another answer each time. */
const vendor = Wire.serve((body, index) => ({
  body: { text: `answer ${index} to ${body.length}, key ${KEY}`, model: "nimbus-1", tokens: { in: 3, out: 2 } },
  headers: { "set-cookie": "session=1", "x-ratelimit-remaining-requests": "9", "openai-organization": "acme" }
}))

/** Environment variables belong to the process. */
const withKey = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => void (process.env["NIMBUS_TEST_KEY"] = KEY)),
    () => effect,
    () => Effect.sync(() => void delete process.env["NIMBUS_TEST_KEY"])
  )

describe("recordings", { concurrent: false }, () => {
  it.live("are made with the key, which is in none of them, and played without", () =>
    Effect.gen(function* () {
      const recorded = file()
      const upstream = yield* vendor
      const options = { file: recorded, upstream: upstream.url, apiKey: "NIMBUS_TEST_KEY" }
      yield* withKey(
        Effect.scoped(
          Effect.gen(function* () {
            const served = yield* Recording.serve({ ...options, record: true })
            for (const prompt of ["one", "one", "two"]) assert.isDefined((yield* ask(served, prompt)).value)
          })
        )
      )
      assert.deepStrictEqual(
        new Set(upstream.seen.map(({ headers }) => headers.authorization)),
        new Set([`Bearer ${KEY}`])
      )
      const text = readFileSync(recorded, "utf8")
      for (const secret of [KEY, "session=1", "acme", "authorization"]) assert.notInclude(text, secret)
      assert.include(text, "x-ratelimit-remaining-requests")

      const before = upstream.seen.length
      const served = yield* Recording.serve({ ...options, record: false })
      const texts: Array<string> = []
      for (const prompt of ["two", "one", "one", "one"]) {
        texts.push(ModelResponse.text((yield* ask(served, prompt)).value!).split(" ")[1]!)
      }
      // In their order, the last one again and again.
      assert.deepStrictEqual(texts, ["2", "0", "1", "1"])
      assert.strictEqual(upstream.seen.length, before)
    }).pipe(Effect.scoped)
  )

  it.live("are replaced by new ones of the same request, and the others stay", () =>
    Effect.gen(function* () {
      const recorded = file()
      const upstream = yield* vendor
      const options = { file: recorded, upstream: upstream.url, apiKey: "NIMBUS_TEST_KEY", record: true }
      const record = (...prompts: ReadonlyArray<string>) =>
        withKey(
          Effect.scoped(
            Effect.flatMap(Recording.serve(options), (served) =>
              Effect.forEach(prompts, (prompt) => ask(served, prompt), { concurrency: 4 })
            )
          )
        )
      yield* record("one", "two", "three")
      yield* record("two")
      const { exchanges } = JSON.parse(readFileSync(recorded, "utf8")) as { readonly exchanges: ReadonlyArray<unknown> }
      assert.strictEqual(exchanges.length, 3)
      assert.include(JSON.stringify(exchanges.at(-1)), "answer 3")
    }).pipe(Effect.scoped)
  )

  it.live("that are missing fail the call, and say how to make them", () =>
    Effect.gen(function* () {
      const served = yield* Recording.serve({ file: file(), upstream: "http://127.0.0.1:1", apiKey: "NIMBUS_TEST_KEY" })
      const { error } = yield* ask(served, "one")
      assert.match(
        ModelFailure.message(error!),
        /no recording of POST \/v1\/answer .* record it with PIPE_RECORD=1 and a key/
      )
    }).pipe(Effect.scoped)
  )

  it.live("need a key to be made, and a file that can be read to be played", () =>
    Effect.gen(function* () {
      const options = { upstream: "http://127.0.0.1:1", apiKey: "NIMBUS_TEST_KEY" }
      const keyless = yield* Effect.flip(Recording.serve({ ...options, file: file(), record: true }))
      assert.strictEqual(keyless.message, "NIMBUS_TEST_KEY is not set: recording needs a key")
      const broken = file()
      writeFileSync(broken, '{"exchanges": 3}')
      const error = yield* Effect.flip(Recording.serve({ ...options, file: broken }))
      assert.match(error.message, /answers\.recorded\.json: is not a recording/)
    }).pipe(Effect.scoped)
  )
})
