/** Reuse by meaning over a real PostgreSQL. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Servers from "../../../test/Servers.ts"
import * as Soak from "../../../test/Soak.ts"
import { askAll, model, questions, within } from "./Questions.ts"

// The index and the store on PostgreSQL have tests of their own.
describe.skipIf(!Servers.hasPostgres || !Soak.isSoak)("SemanticCache", () => {
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
