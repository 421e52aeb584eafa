/** Vectors that can be compared. */
import assert from "node:assert/strict"
import { test } from "node:test"
import { Embedder } from "@pipe/core"
import { Effect } from "effect"
import { layer } from "./plugin.ts"

const similarity = (one: string, other: string) =>
  Effect.runPromise(
    Effect.gen(function* () {
      const { embed } = yield* Embedder.Embedder
      const [a, b] = [yield* embed(one), yield* embed(other)]
      return a.reduce((sum, value, at) => sum + value * b[at]!, 0)
    }).pipe(Effect.provide(layer))
  )

test("equal texts have equal vectors of length 1", async () => {
  assert.ok(Math.abs((await similarity("a tree", "a tree")) - 1) < 1e-6)
})

test("a text is nearer to one that means the same than to another", async () => {
  const near = await similarity("How do I reset my password?", "how to reset the password")
  const far = await similarity("How do I reset my password?", "Where is my parcel?")
  assert.ok(near > far, `${near} and ${far}`)
})

test("a long text is not compared", async () => {
  const { unfit } = await Effect.runPromise(Effect.provide(Embedder.Embedder, layer))
  assert.equal(unfit("short"), undefined)
  assert.match(unfit("x".repeat(3_000)) ?? "", /longer than 2000 characters/)
})
