import { assert, describe, it } from "@effect/vitest"
import { type ModelRequest, RequestKey } from "@pipe/core"
import * as fc from "fast-check"
import { createHash } from "node:crypto"

/** Canonical JSON, written again: sorted keys, no `undefined`. */
const canonical = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null"
  const fields = Object.entries(value).filter(([, field]) => field !== undefined)
  return `{${fields
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([name, field]) => `${JSON.stringify(name)}:${canonical(field)}`)
    .join(",")}}`
}

const text = fc.string({ unit: "grapheme", maxLength: 8 })
const json = fc.jsonValue({ maxDepth: 2 })

const message = fc.oneof(
  fc.record({ role: fc.constantFrom("user", "assistant", "system"), content: text }),
  fc.record(
    {
      role: fc.constant("user"),
      content: fc.array(fc.record({ type: fc.constant("text"), text }), { maxLength: 2 }),
      options: fc.dictionary(text, json, { maxKeys: 1 })
    },
    { requiredKeys: ["role", "content"] }
  )
)

const completion = fc
  .record(
    {
      _tag: fc.constant("Completion"),
      model: fc.constantFrom("gpt-4o", undefined),
      messages: fc.array(message, { minLength: 1, maxLength: 3 }),
      tools: fc.array(fc.record({ name: text, parameters: json }), { maxLength: 1 }),
      toolChoice: fc.constantFrom("auto", "none", { tool: "x" }),
      responseFormat: fc.oneof(
        fc.constant({ type: "text" }),
        fc.record({ type: fc.constant("json"), name: text, schema: fc.dictionary(text, json, { maxKeys: 3 }) })
      ),
      settings: fc.record({ temperature: fc.constantFrom(0, 0.5), maxTokens: fc.nat() }, { requiredKeys: [] }),
      providerOptions: fc.dictionary(fc.constantFrom("openai", "google"), fc.dictionary(text, json, { maxKeys: 2 })),
      sample: fc.nat({ max: 2 }),
      leftOut: fc.record({ temperature: fc.constant(1) }),
      more: json
    },
    {
      requiredKeys: [
        "_tag",
        "messages",
        "tools",
        "toolChoice",
        "responseFormat",
        "settings",
        "providerOptions",
        "sample"
      ]
    }
  )
  .chain((request) =>
    fc
      .shuffledSubarray(Object.keys(request), { minLength: Object.keys(request).length })
      .map((names) => Object.fromEntries(names.map((name) => [name, request[name as keyof typeof request]])))
  )
  .map((request) => request as unknown as ModelRequest.Completion)

describe("the text of a request", () => {
  it("is its canonical JSON, whatever was keyed before", () =>
    fc.assert(
      fc.property(fc.array(completion, { maxLength: 6 }), text, (requests, namespace) => {
        for (const request of [...requests, ...requests])
          assert.strictEqual(
            RequestKey.content(request, namespace),
            canonical([RequestKey.version, namespace, request])
          )
      }),
      { numRuns: 300 }
    ))

  it("is another one when an author changes messages in place", () => {
    const messages = [{ role: "user", content: "one" }] as Array<{ role: "user"; content: string }>
    const request: ModelRequest.Completion = {
      _tag: "Completion",
      messages,
      tools: [],
      toolChoice: "none",
      responseFormat: { type: "text" },
      settings: {},
      providerOptions: {},
      sample: 0
    }
    const keys = new Set<string>()
    for (const change of [
      () => {},
      () => void (messages[0]!.content = "two"),
      () => void messages.push({ role: "user", content: "three" }),
      () => void messages.pop(),
      () => void (messages[0]!.content = "one")
    ]) {
      change()
      keys.add(RequestKey.content(request))
    }
    // The first text comes back, and so does the second.
    assert.strictEqual(keys.size, 3)
  })

  it("keeps the keys that stores have", () => {
    const request: ModelRequest.Completion = {
      _tag: "Completion",
      model: "gpt-4o-mini",
      messages: [
        { role: "system", content: "Be brief." },
        { role: "user", content: "Où est « ma carte » ?\n\u2028" }
      ],
      tools: [],
      toolChoice: "none",
      responseFormat: {
        type: "json",
        name: "answer",
        schema: { type: "object", required: ["b", "a"], properties: { b: { type: "string" }, a: { type: "number" } } }
      },
      settings: { temperature: 0, maxTokens: 5 },
      providerOptions: { openai: { user: "ignored", top_k: 3 } },
      sample: 1
    }
    // As the version of 2026-11-28 made it (commit 7ee9e9d).
    assert.strictEqual(
      createHash("sha256").update(RequestKey.content(request, "tenant")).digest("hex"),
      "3b48d94d7d15e1296332d578d031e8a4c67086bf9ccb9d99dfc4c3b9aa394cb9"
    )
  })
})
