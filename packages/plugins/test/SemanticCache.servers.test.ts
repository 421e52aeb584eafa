/** Reuse by meaning over a real PostgreSQL. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Servers from "../../../test/Servers.ts"
import { askAll, model, questions, within } from "./Questions.ts"

describe.skipIf(!Servers.hasPostgres)("SemanticCache", () => {
  it.live(
    "has its home in PostgreSQL too",
    () =>
      Effect.scoped(
        Effect.gen(function* () {
          const url = yield* Servers.postgres
          yield* within(url, model(), askAll(questions))
          const scripted = model()
          const answers = yield* within(
            url,
            scripted,
            askAll([{ text: "good evening, where is my card" }, { text: "good evening, my pin is blocked" }])
          )
          assert.deepStrictEqual(
            answers.map(({ origin }) => origin),
            ["semantic", "semantic"]
          )
        })
      ),
    120_000
  )
})
