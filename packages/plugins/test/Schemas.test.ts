/**
 * Schemas as authors write them, through each API: what is sent is a schema that the provider takes by its published rules, and every
 * answer that fits it is decoded at once.
 */
import { assert, describe, it } from "@effect/vitest"
import { CallContext, ModelClient, type ModelRequest, ModelResponse, ToLanguageModel } from "@pipe/core"
import { Anthropic, OpenAi, Simulator } from "@pipe/plugins"
import { DateTime, Effect, Exit, Logger, Schema } from "effect"
import { type AiError, LanguageModel, Tool, Toolkit } from "effect/ai"
import * as Soak from "../../../test/Soak.ts"
import * as Apis from "./Apis.ts"
import * as GeneratedSchemas from "./GeneratedSchemas.ts"
import * as ProviderRules from "./ProviderRules.ts"
import * as Samples from "./Samples.ts"
import type * as Streamed from "./Streamed.ts"
import * as Wire from "./Wire.ts"

type Json = Streamed.Json

/** The schema of an answer in a request's body, with why the provider refuses it. */
const sentIn = (api: Apis.Api, body: Json): { readonly schema: Json; readonly refusal: string | undefined } => {
  const at = (...path: ReadonlyArray<string>): any => path.reduce<any>((value, name) => value[name], body)
  if (api === "messages") {
    const schema = at("output_config", "format", "schema")
    return { schema, refusal: ProviderRules.anthropic(schema) }
  }
  const { name, schema, strict } = api === "chat" ? at("response_format", "json_schema") : at("text", "format")
  return { schema, refusal: strict ? ProviderRules.openAi(name, schema) : "it goes un-strict" }
}

const answerOf = (api: Apis.Api, text: string): Json => {
  switch (api) {
    case "chat":
      return {
        id: "1",
        object: "chat.completion",
        model: "gpt-4o-mini",
        choices: [{ index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" }],
        usage: { prompt_tokens: 12, completion_tokens: 4, total_tokens: 16 }
      }
    case "responses":
      return {
        id: "1",
        object: "response",
        status: "completed",
        model: "gpt-4o-mini",
        output: [{ type: "message", role: "assistant", content: [{ type: "output_text", text, annotations: [] }] }],
        usage: { input_tokens: 12, output_tokens: 4, total_tokens: 16 }
      }
    case "messages":
      return {
        id: "1",
        type: "message",
        role: "assistant",
        model: "claude-sonnet-4-6",
        content: [{ type: "text", text }],
        stop_reason: "end_turn",
        usage: { input_tokens: 12, output_tokens: 4 }
      }
  }
}

const refused = (message: string): Wire.Reply => ({
  status: 400,
  body: { type: "error", error: { type: "invalid_request_error", message, param: null, code: null } }
})

/** A provider that refuses what it does not take, and answers with what fits. */
const provider = (api: Apis.Api, text: (schema: Json) => string) =>
  Wire.serve((body) => {
    const { refusal, schema } = sentIn(api, JSON.parse(body))
    try {
      return refusal === undefined ? { body: answerOf(api, text(schema)) } : refused(`Invalid schema: ${refusal}`)
    } catch (error) {
      return refused(`the test: ${String(error)}`)
    }
  })

const object = (schema: Schema.Top, name?: string) =>
  Effect.provide(
    LanguageModel.generateObject({
      prompt: "x",
      schema: schema as unknown as Schema.Codec<unknown, Record<string, unknown>>,
      ...(name === undefined ? undefined : { objectName: name })
    }).pipe(Effect.map(({ value }) => value)),
    ToLanguageModel.layer
  ) as Effect.Effect<unknown, AiError.AiError, ModelClient.ModelClient>

const kindsOf = (api: Apis.Api): GeneratedSchemas.Kinds =>
  api === "messages" ? { ranges: false, recursion: false, urls: true } : { ranges: true, recursion: true, urls: false }

const pool: Apis.Way = { transport: "pool", stream: false }

/** Anthropic takes 16 unions and 24 optional fields: more is refused, with the number. */
const LIMIT = /has \d+ (?:fields that are unions or nullable|optional fields)|levels/

describe("generated schemas", () => {
  for (const api of Apis.apis) {
    it.live(
      `are sent as ${api} takes them, and every answer that fits is decoded`,
      () =>
        Effect.gen(function* () {
          let seed = 0
          let next = Samples.random(0)
          let text = ""
          const server = yield* provider(api, (schema) => (text = JSON.stringify(Samples.of(schema, next))))
          const layer = Apis.layerOf(api, Apis.baseOf(api, server.url), pool)
          let answered = 0
          for (; seed < Soak.times(30, 1_000); seed++) {
            next = Samples.random(seed)
            const schema = GeneratedSchemas.make(next, kindsOf(api))
            const before = server.seen.length
            const { error, value } = yield* Wire.over(layer, object(schema))
            if (error?.reason._tag === "UnsupportedSchemaError") {
              assert.match(error.message, LIMIT, `seed ${seed}: ${error.message}`)
              assert.strictEqual(server.seen.length, before, "nothing is sent")
              continue
            }
            assert.strictEqual(error, undefined, `seed ${seed}: ${error?.message}: ${text}`)
            assert.strictEqual(server.seen.length, before + 1)
            const encoded = Schema.encodeUnknownExit(Schema.toCodecJson(schema))(value)
            assert.isTrue(Exit.isSuccess(encoded), `seed ${seed}: the value is of the schema`)
            answered++
          }
          assert.isAbove(answered, (seed * 9) / 10)
        }),
      Soak.timeout(60_000)
    )
  }

  it.live("are the same in a batch as in a single call", () =>
    Effect.gen(function* () {
      for (const api of Apis.apis) {
        const server = yield* provider(api, (schema) => JSON.stringify(Samples.of(schema, Samples.random(1))))
        for (let seed = 0; seed < 20; seed++) {
          const schema = GeneratedSchemas.make(Samples.random(seed), kindsOf(api))
          yield* Wire.over(
            Apis.layerOf(api, Apis.baseOf(api, server.url), pool),
            Effect.gen(function* () {
              const client = yield* ModelClient.ModelClient
              let asked: ModelRequest.Completion | undefined
              const watched: ModelClient.Service = {
                ...client,
                send: (request) => {
                  if (request._tag === "Completion") asked = request
                  return client.send(request)
                }
              }
              yield* Effect.exit(Effect.provideService(object(schema), ModelClient.ModelClient, watched))
              const encoded = yield* client.batch!.all[0]!.encode("row-1", client.resolve(asked!, CallContext.empty))
              const line = JSON.parse(encoded!.text)
              const single = JSON.parse(server.seen.at(-1)!.body)
              assert.deepStrictEqual(sentIn(api, line.body ?? line.params), sentIn(api, single))
            })
          )
        }
      }
    })
  )
})

describe("the simulator", () => {
  for (const api of Apis.apis) {
    it.live(
      `gives answers that fit (${api})`,
      () =>
        Effect.gen(function* () {
          const layer = Apis.layerOf(api, "http://127.0.0.1:9", pool)
          const seeds = Soak.times(15, 1_000)
          let answered = 0
          for (let seed = 0; seed < seeds; seed++) {
            const schema = GeneratedSchemas.make(Samples.random(seed), kindsOf(api))
            const { error, value } = yield* Wire.over(layer, object(schema))
            // A long one has no room in Anthropic's usual limit.
            if (error?.reason._tag === "UnsupportedSchemaError" || error?.message.includes("output limit")) continue
            assert.strictEqual(error, undefined, `seed ${seed}: ${error?.message}`)
            assert.isTrue(Exit.isSuccess(Schema.encodeUnknownExit(Schema.toCodecJson(schema))(value)), `seed ${seed}`)
            answered++
          }
          assert.isAbove(answered, seeds * 0.8)
        }).pipe(Effect.provide(Simulator.layer())),
      Soak.timeout(60_000)
    )
  }
})

/** A server of one answer; what came of it, and the calls. */
const one = (api: Apis.Api, schema: Schema.Top, answers: ReadonlyArray<string>, name?: string) =>
  Effect.gen(function* () {
    let at = 0
    const server = yield* provider(api, () => answers[Math.min(at++, answers.length - 1)]!)
    const layer = Apis.layerOf(api, Apis.baseOf(api, server.url), pool)
    const { error, value } = yield* Wire.over(layer, object(schema, name), { attempts: 3, reasks: 2 })
    const bodies = server.seen.map(({ body }) => JSON.parse(body) as Json)
    return { value, calls: server.seen.length, message: error?.message, sent: sentIn(api, bodies[0]!).schema, bodies }
  })

const decodes = (
  id: string,
  schema: Schema.Top,
  answer: unknown,
  expected: unknown,
  apis: ReadonlyArray<Apis.Api> = Apis.apis
) => {
  for (const api of apis) {
    it.live(`${id}: ${JSON.stringify(answer).slice(0, 60)} by ${api}`, () =>
      Effect.gen(function* () {
        const text = typeof answer === "string" ? answer : JSON.stringify(answer)
        const { calls, message, value } = yield* one(api, schema, [text])
        assert.strictEqual(message, undefined)
        assert.deepStrictEqual(value, expected)
        assert.strictEqual(calls, 1)
      })
    )
  }
}

const Label = Schema.Struct({ label: Schema.String })

interface Category {
  readonly name: string
  readonly children: ReadonlyArray<Category>
}

const Category = Schema.Struct({
  name: Schema.String,
  children: Schema.Array(Schema.suspend((): Schema.Codec<Category> => Category))
}).annotate({ identifier: "Category" })

const at = new Date("2026-03-05T10:00:00.000Z")

describe("a class at the root", () => {
  class Place extends Schema.Class<Place>("@app/Place~1")({ street: Schema.String }) {}
  for (const [name, schema] of [
    ["as it is", Place],
    ["with a description", Place.annotate({ description: "where it is" })]
  ] as const) {
    for (const api of Apis.apis) {
      it.live(`is sent as an object, once, and decoded, ${name} (${api})`, () =>
        Effect.gen(function* () {
          const { message, sent, value } = yield* one(api, schema, [`{"street":"Rue 1"}`])
          assert.strictEqual(message, undefined)
          assert.deepStrictEqual(value, new Place({ street: "Rue 1" }))
          assert.deepStrictEqual(Object.keys(sent["properties"] as Json), ["street"])
          assert.notProperty(sent, "$defs")
        })
      )
    }
  }
})

describe("a root that is sent in an object", () => {
  const value = Schema.Struct({ value: Schema.String })
  decodes("a text beside an object with a value", Schema.Union([Schema.String, value]), { value: "x" }, "x")
  decodes("the object", Schema.Union([Schema.String, value]), { value: { value: "x" } }, { value: "x" })
  decodes("nothing beside it", Schema.NullOr(value), { value: null }, null)
  decodes("an object with a value alone", value, { value: "x" }, { value: "x" })
  decodes(
    "a record of lists",
    Schema.Record(Schema.String, Schema.Array(Schema.Int)),
    { value: [1, 2] },
    {
      value: [1, 2]
    },
    ["chat", "responses"]
  )
})

describe("values that JSON does not have", () => {
  decodes("so-01", Schema.Struct({ when: Schema.Date }), { when: at.toISOString() }, { when: at })
  decodes("so-01-n1", Schema.Struct({ n: Schema.BigInt }), { n: "12345678901234567890" }, { n: 12345678901234567890n })
  decodes(
    "so-01-n2",
    Schema.Struct({ at: Schema.URL }),
    { at: "https://a.example/b" },
    { at: new URL("https://a.example/b") }
  )
  decodes(
    "so-01-n3",
    Schema.Struct({ at: Schema.DateTimeUtc }),
    { at: at.toISOString() },
    { at: DateTime.makeUnsafe(at) }
  )
  const map = Schema.Struct({ m: Schema.ReadonlyMap(Schema.String, Schema.Number) })
  decodes("so-01-n4", map, { m: [["a", 1]] }, { m: new Map([["a", 1]]) })
  decodes("so-01-n4", map, { m: [{ 0: "a", 1: 1 }] }, { m: new Map([["a", 1]]) })
  const record = Schema.Struct({ r: Schema.Record(Schema.String, Schema.Number) })
  decodes("record", record, { r: [{ key: "a", value: 1 }] }, { r: { a: 1 } })
  decodes("record", record, { r: { a: 1 } }, { r: { a: 1 } })
  const tuple = Schema.Struct({ t: Schema.Tuple([Schema.String, Schema.Number]) })
  decodes("tuple", tuple, { t: { 0: "a", 1: 2 } }, { t: ["a", 2] })
  decodes("tuple", tuple, { t: ["a", 2] }, { t: ["a", 2] })
  decodes(
    "choice",
    Schema.Struct({ c: Schema.Literals(["positive", "negative"]) }),
    { c: "Positive" },
    { c: "positive" }
  )
})

describe("null for what is missing", () => {
  const schema = Schema.Struct({ a: Schema.String, b: Schema.optional(Schema.String) })
  decodes("so-02", schema, { a: "x", b: null }, { a: "x", b: undefined })
  decodes(
    "so-02",
    Schema.Struct({ a: Schema.String, b: Schema.optionalKey(Schema.String) }),
    { a: "x", b: null },
    { a: "x" }
  )
  const list = Schema.Struct({ l: Schema.Array(Schema.Struct({ b: Schema.optionalKey(Schema.Number) })) })
  decodes("so-02-n2", list, { l: [{ b: null }] }, { l: [{}] })
  const twice = Schema.Struct({ b: Schema.optionalKey(Schema.NullOr(Schema.String)) })
  decodes("so-02: null is a value", twice, { b: null }, { b: null })
})

describe("answers that could be read in two ways", () => {
  const amount = Schema.Struct({
    value: Schema.optionalKey(Schema.Struct({ amount: Schema.Finite, unit: Schema.String })),
    note: Schema.optionalKey(Schema.String)
  })
  decodes(
    "an object whose only field is `value`",
    amount,
    { value: { amount: 5, unit: "kg" } },
    { value: { amount: 5, unit: "kg" } }
  )
  const nested = Schema.Record(Schema.String, Schema.Record(Schema.String, Schema.Finite))
  decodes("a record with an empty one", nested, { value: {} }, { value: {} })
  const members = Schema.Union([
    Schema.Struct({ name: Schema.String, x: Schema.optionalKey(Schema.Finite) }),
    Schema.Struct({ name: Schema.String, x: Schema.NullOr(Schema.Finite), y: Schema.String })
  ])
  decodes(
    "the member that has all of it",
    members,
    { value: { name: "a", x: null, y: "q" } },
    { name: "a", x: null, y: "q" }
  )
  const proto = Schema.Struct({ ["__proto__"]: Schema.String, a: Schema.String })
  decodes("a property of an odd name", proto, '{"__proto__":"x","a":"y"}', JSON.parse('{"__proto__":"x","a":"y"}'))

  it.live("a record and a list in one union cannot be told apart, and are refused or sent as a guide", () =>
    Effect.gen(function* () {
      const schema = Schema.Struct({
        u: Schema.Union([Schema.Record(Schema.String, Schema.Finite), Schema.Array(Schema.String)])
      })
      const server = yield* Wire.serve(() => ({ body: answerOf("chat", '{"u":{"a":1}}') }))
      const guided = yield* Wire.over(Apis.layerOf("chat", `${server.url}/v1`, pool), object(schema))
      assert.deepStrictEqual(guided.value, { u: { a: 1 } })
      assert.isFalse(JSON.parse(server.seen[0]!.body).response_format.json_schema.strict)
      const refused = yield* Wire.over(Apis.layerOf("messages", server.url, pool), object(schema))
      assert.match(refused.error?.message ?? "", /the field u has members that an answer cannot tell apart/)
    })
  )

  it.live("an optional field that is a class, or the schema itself, may be null", () =>
    Effect.gen(function* () {
      class Addr extends Schema.Class<Addr>("Addr")({ street: Schema.String }) {}
      const { sent, value } = yield* one("chat", Schema.Struct({ home: Addr, work: Schema.optionalKey(Addr) }), [
        '{"home":{"street":"a"},"work":null}'
      ])
      assert.deepStrictEqual(value, { home: new Addr({ street: "a" }) })
      assert.deepStrictEqual((sent["properties"] as Json)["work"], {
        anyOf: [(sent["properties"] as Json)["home"], { type: "null" }]
      })
    })
  )

  it.live("a value of a union that contains itself is read in time", () =>
    Effect.gen(function* () {
      interface Node {
        readonly k: string
        readonly a?: Node
      }
      const member = (k: string) =>
        Schema.Struct({ k: Schema.Literal(k), a: Schema.optionalKey(Schema.suspend((): Schema.Codec<Node> => tree)) })
      const tree: Schema.Codec<Node> = Schema.Union([member("x"), member("y"), member("z")]) as never
      let text = '{"k":"z"}'
      for (let depth = 0; depth < 60; depth++) text = `{"k":"z","a":${text}}`
      const { message } = yield* one("chat", Schema.Struct({ root: tree }), [`{"root":${text}}`])
      assert.strictEqual(message, undefined)
    })
  )
})

describe("the root of an answer", () => {
  decodes("so-04", Schema.Array(Schema.String), { value: ["x"] }, ["x"])
  decodes("so-04", Schema.Array(Schema.String), ["x"], ["x"])
  const union = Schema.Union([
    Schema.TaggedStruct("A", { a: Schema.String }),
    Schema.TaggedStruct("B", { b: Schema.Int })
  ])
  decodes("so-04-n1", union, { value: { _tag: "B", b: 1 } }, { _tag: "B", b: 1 })
  decodes("so-04-n2", Schema.Literals(["yes", "no"]), { value: "yes" }, "yes")
  decodes("so-04-n2", Schema.Literals(["yes", "no"]), "yes", "yes")
  decodes("a field of that name", Schema.Struct({ value: Schema.String }), { value: "x" }, { value: "x" })
  decodes("a record with that name", Schema.Record(Schema.String, Schema.String), { value: "x" }, { value: "x" })
  decodes(
    "so-08",
    Category,
    { name: "a", children: [{ name: "b", children: [] }] },
    { name: "a", children: [{ name: "b", children: [] }] },
    ["chat", "responses"]
  )
})

describe("the one JSON value in an answer", () => {
  const json = '{"label":"x"}'
  for (const [name, text] of [
    ["so-05: thoughts in tags", `<think>\nLet me see {a}\n</think>\n\n${json}`],
    ["so-05-n1: thoughts before a fence", `<think>hm</think>\n\`\`\`json\n${json}\n\`\`\``],
    ["so-05-n3: thoughts without their first tag", `so it is {"label": "y"}\n</think>\n\n${json}`],
    ["a sentence before", `Here is the JSON you asked for:\n${json}`],
    ["a sentence after", `${json}\n\nLet me know if you need more!`],
    ["a sentence around a fence", `Sure!\n\n\`\`\`json\n${json}\n\`\`\`\nHope that helps.`],
    ["a fence without a language", `\`\`\`\n${json}\n\`\`\``],
    ["a fence of tildes", `~~~json\n${json}\n~~~`],
    ["a fence on one line", `\`\`\`json ${json} \`\`\``],
    ["an open fence", `\`\`\`json\n${json}`],
    ["back quotes", `\`${json}\``],
    ["the word json", `json\n${json}`],
    ["a tag", `<answer>${json}</answer>`],
    ["a byte order mark", `\uFEFF${json}`],
    ["a note in brackets", `As said in [1] and [note: see {a}], ${json}`],
    ["JSON in a text", JSON.stringify(json)],
    ["twice the same", `${json}\nAgain: { "label": "x" }`],
    ["a list of one", `[${json}]`],
    ["a tag in the value", '```json\n{"label":"</think>x"}\n```'.replace("</think>", "")]
  ] as const) {
    decodes(name, Label, text, { label: "x" }, ["chat"])
  }

  for (const [name, text] of [
    ["two different values", `{"label":"x"} or {"label":"y"}`],
    ["a piece of a broken one", `{"outer": {"label":"x"}`],
    ["a piece of one with a comma too many", `{"outer": {"label":"x"},}`],
    ["a piece of one with names without quotes", `{label: 'real', extra: {"label":"x"}}`],
    ["a piece of one in single quotes", `{'label':'real','x':{"label":"x"}}`],
    ["what stands in thoughts without an end", `<think>maybe {"label":"no"}`],
    ["none", "I cannot say."]
  ] as const) {
    it.live(`${name} is no answer`, () =>
      Effect.gen(function* () {
        const { calls, message } = yield* one("chat", Label, [text])
        assert.match(message ?? "", /not JSON|more than one JSON value/)
        assert.strictEqual(calls, 2, "the same wrong answer twice ends it")
      })
    )
  }

  it.live("so-11: a number as a text is requested again, with all that is wrong", () =>
    Effect.gen(function* () {
      const schema = Schema.Struct({ n: Schema.Number, m: Schema.Number })
      const { bodies, calls, value } = yield* one("chat", schema, ['{"n":"3","m":"4"}', '{"n":3,"m":4}'])
      assert.deepStrictEqual(value, { n: 3, m: 4 })
      assert.strictEqual(calls, 2)
      const told = JSON.stringify((bodies[1]!["messages"] as ReadonlyArray<Json>).at(-1))
      assert.include(told, "n")
      assert.include(told, "m")
    })
  )

  it.live("text of brackets alone is looked at in time", () =>
    Effect.gen(function* () {
      for (const text of ["{".repeat(300_000), "[x".repeat(200_000), '{"a":'.repeat(200_000), "[]".repeat(300_000)]) {
        const { message } = yield* one("chat", Label, [text])
        assert.isDefined(message)
      }
    })
  )
})

describe("what is sent", () => {
  it.live("so-03: the name of a schema is cleaned", () =>
    Effect.gen(function* () {
      for (const name of ["@app/Verdict", "é", "x".repeat(100), "a b"]) {
        const { message } = yield* one("chat", Label, ['{"label":"x"}'], name)
        assert.strictEqual(message, undefined)
      }
    })
  )

  it.live("so-06: constraints that Anthropic does not take receive in words", () =>
    Effect.gen(function* () {
      const score = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 }))
      const { sent, value } = yield* one("messages", Schema.Struct({ score }), ['{"score":3}'])
      assert.deepStrictEqual(value, { score: 3 })
      assert.deepStrictEqual(sent["properties"], {
        score: { type: "integer", description: "a value between 1 and 5" }
      })
    })
  )

  it.live("E3: a range, a date, a pattern and a length", () =>
    Effect.gen(function* () {
      const schema = Schema.Struct({
        score: Schema.Number.check(Schema.isBetween({ minimum: 0, maximum: 1 })),
        when: Schema.Date,
        code: Schema.String.check(Schema.isPattern(/^[A-Z]{3}$/)),
        name: Schema.String.check(Schema.isMinLength(2)),
        note: Schema.optionalKey(Schema.String)
      })
      const { sent } = yield* one("chat", schema, ["{}"])
      assert.deepStrictEqual(sent["properties"], {
        score: { type: "number", minimum: 0, maximum: 1, description: "a value between 0 and 1" },
        when: { type: "string", format: "date-time", description: "a date and time as in 2026-03-05T10:00:00Z" },
        code: { type: "string", pattern: "^[A-Z]{3}$", description: "a string matching the RegExp ^[A-Z]{3}$" },
        name: { type: "string", description: "a value with a length of at least 2" },
        note: { anyOf: [{ type: "string" }, { type: "null" }] }
      })
    })
  )

  it.live("the author's own words, and those of a filter", () =>
    Effect.gen(function* () {
      const schema = Schema.Struct({
        stars: Schema.Finite.annotate({ description: "stars of five" }),
        due: Schema.Date.annotate({ description: "when it is due" }),
        even: Schema.Finite.check(
          Schema.makeFilter((n) => n % 2 === 0 || "it must be even", { expected: "an even number" })
        )
      })
      const { sent } = yield* one("chat", schema, ["{}"])
      assert.deepStrictEqual(sent["properties"], {
        stars: { type: "number", description: "stars of five" },
        due: { type: "string", format: "date-time", description: "when it is due" },
        even: { type: "number", description: "an even number" }
      })
    })
  )

  it.live("so-10: a choice of 1,500 words goes as a guide, which is said", () =>
    Effect.gen(function* () {
      const words = Array.from({ length: 1_500 }, (_, index) => `c${index}`)
      const logged: Array<string> = []
      const server = yield* Wire.serve(() => ({ body: answerOf("chat", '{"c":"c3"}') }))
      const { value } = yield* Effect.provide(
        Wire.over(Apis.layerOf("chat", `${server.url}/v1`, pool), object(Schema.Struct({ c: Schema.Literals(words) }))),
        Logger.layer([Logger.make(({ message }) => void logged.push(String(message)))])
      )
      assert.deepStrictEqual(value, { c: "c3" })
      assert.isFalse(JSON.parse(server.seen[0]!.body).response_format.json_schema.strict)
      assert.match(logged.join(), /does not enforce the schema .*1,500 values to choose from \(1,000 at most\)/)
    })
  )

  for (const [name, schema, words] of [
    [
      "a field of any JSON",
      Schema.Struct({ a: Schema.Struct({ meta: Schema.Unknown }) }),
      /the field a\.meta takes any JSON/
    ],
    ["a schema that contains itself", Category, /Category contains itself/]
  ] as const) {
    it.live(`Anthropic: ${name} is refused before a call, with the way out`, () =>
      Effect.gen(function* () {
        const server = yield* Wire.serve(() => ({
          body: answerOf("messages", '{"name":"a","children":[],"a":{"meta":1}}')
        }))
        const refused = yield* Wire.over(Apis.layerOf("messages", server.url, pool), object(schema))
        assert.strictEqual(refused.error?.reason._tag, "UnsupportedSchemaError")
        assert.match(refused.error?.message ?? "", words)
        assert.match(refused.error?.message ?? "", /structuredOutput: "prompt"/)
        assert.strictEqual(server.seen.length, 0)
        const layer = Anthropic.layer({
          baseUrl: server.url,
          apiKey: "k",
          model: "claude-sonnet-4-6",
          structuredOutput: "prompt"
        })
        const told = yield* Wire.over(layer, object(schema))
        assert.strictEqual(told.error, undefined)
        assert.match(JSON.parse(server.seen[0]!.body).system.at(-1).text, /JSON Schema/)
        assert.notProperty(JSON.parse(server.seen[0]!.body), "output_config")
      })
    )
  }

  for (const schema of [
    Schema.Struct({ pattern: Schema.instanceOf(RegExp) }),
    Schema.Struct({ pattern: Schema.Symbol })
  ]) {
    it.live("a field that has no form in JSON is refused before a call", () =>
      Effect.gen(function* () {
        const { calls, message } = yield* Effect.map(
          Effect.flatMap(
            provider("chat", () => "{}"),
            (server) =>
              Effect.map(Wire.over(Apis.layerOf("chat", `${server.url}/v1`, pool), object(schema)), ({ error }) => ({
                message: error?.message,
                calls: server.seen.length
              }))
          ),
          (outcome) => outcome
        )
        assert.match(message ?? "", /the field pattern/)
        assert.strictEqual(calls, 0)
      })
    )
  }

  for (const [name, refusal] of [
    ["DeepSeek", "This response_format type is unavailable now"],
    [
      "DeepSeek, 2025",
      "Failed to deserialize the JSON body: response_format.type `json_schema` is unavailable now at line 1 column 5"
    ],
    ["Groq", "This model does not support response format `json_schema`. See supported models"],
    ["an old model", "Invalid parameter: 'response_format' must be one of 'json_object', 'text'."]
  ] as const) {
    it.live(`so-07: the prompt tells the schema where the endpoint takes none (${name})`, () =>
      Effect.gen(function* () {
        const server = yield* Wire.serve((body) =>
          JSON.parse(body).response_format.type === "json_schema"
            ? refused(refusal)
            : { body: answerOf("chat", '{"label":"x"}') }
        )
        const twice = Effect.all([object(Label), object(Label)])
        const { error, value } = yield* Wire.over(Apis.layerOf("chat", `${server.url}/v1`, pool), twice)
        assert.strictEqual(error, undefined)
        assert.deepStrictEqual(value, [{ label: "x" }, { label: "x" }])
        const formats = server.seen.map(({ body }) => JSON.parse(body).response_format.type)
        assert.deepStrictEqual(formats, ["json_schema", "json_object", "json_object"])
        assert.match(JSON.parse(server.seen[1]!.body).messages[0].content, /JSON Schema/)
      })
    )
  }

  it.live("so-07: and from the first call where the author says so", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve(() => ({ body: answerOf("responses", '{"label":"x"}') }))
      const layer = OpenAi.layer({
        baseUrl: `${server.url}/v1`,
        apiKey: "k",
        model: "gpt-4o-mini",
        api: "responses",
        structuredOutput: "prompt"
      })
      const { value } = yield* Wire.over(layer, object(Label))
      assert.deepStrictEqual(value, { label: "x" })
      assert.strictEqual(JSON.parse(server.seen[0]!.body).text.format.type, "json_object")
    })
  )

  it.live("a schema that a provider refuses is no reason to tell it in the prompt", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve(() =>
        refused("Invalid schema for response_format 'x': 'oneOf' is not permitted.")
      )
      const { error } = yield* Wire.over(Apis.layerOf("chat", `${server.url}/v1`, pool), object(Label))
      assert.match(error?.message ?? "", /oneOf/)
      assert.strictEqual(server.seen.length, 1)
    })
  )
})

describe("the arguments of tools", () => {
  const book = Tool.make("book", {
    parameters: Schema.Struct({
      at: Schema.Date,
      note: Schema.optionalKey(Schema.String),
      guests: Schema.Record(Schema.String, Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 })))
    }),
    success: Schema.String
  })
  const toolkit = Toolkit.make(book)

  for (const api of ["chat", "responses"] as const) {
    it.live(`are held strictly, and come as the tool's own (${api})`, () =>
      Effect.gen(function* () {
        const given: Array<unknown> = []
        const params = JSON.stringify({ at: at.toISOString(), note: null, guests: [{ key: "ann", value: 2 }] })
        const server = yield* Wire.serve((_, index) =>
          index > 0
            ? { body: answerOf(api, "booked") }
            : {
                body:
                  api === "chat"
                    ? {
                        ...answerOf(api, ""),
                        choices: [
                          {
                            index: 0,
                            message: {
                              role: "assistant",
                              content: null,
                              tool_calls: [
                                { id: "c1", type: "function", function: { name: "book", arguments: params } }
                              ]
                            },
                            finish_reason: "tool_calls"
                          }
                        ]
                      }
                    : {
                        ...answerOf(api, ""),
                        output: [{ type: "function_call", id: "f1", call_id: "c1", name: "book", arguments: params }]
                      }
              }
        )
        const { error } = yield* Wire.over(
          Apis.layerOf(api, Apis.baseOf(api, server.url), pool),
          LanguageModel.generateText({ prompt: "x", toolkit }).pipe(
            Effect.provide(toolkit.toLayer({ book: (given_) => Effect.sync(() => (given.push(given_), "done")) })),
            Effect.provide(ToLanguageModel.layer)
          ) as Effect.Effect<unknown, AiError.AiError, ModelClient.ModelClient>
        )
        assert.strictEqual(error, undefined)
        assert.deepStrictEqual(given, [{ at, guests: { ann: 2 } }])
        const [tool] = JSON.parse(server.seen[0]!.body).tools
        const { parameters, strict } = api === "chat" ? tool.function : tool
        assert.isTrue(strict)
        assert.strictEqual(ProviderRules.openAi("book", parameters), undefined)
      })
    )
  }
})

describe("dates in what goes back to a model (C10)", () => {
  for (const api of ["chat", "responses"] as const) {
    it.live(`are sent as JSON has them (${api})`, () =>
      Effect.gen(function* () {
        const server = yield* Wire.serve(() => ({ body: answerOf(api, "ok") }))
        const prompt = [
          { role: "user" as const, content: "when?" },
          {
            role: "assistant" as const,
            content: [{ type: "tool-call" as const, id: "c1", name: "day", params: { since: at } }]
          },
          {
            role: "tool" as const,
            content: [
              { type: "tool-result" as const, id: "c1", name: "day", isFailure: false, result: { at, half: "a\ud800" } }
            ]
          }
        ]
        yield* Wire.over(
          Apis.layerOf(api, Apis.baseOf(api, server.url), pool),
          Effect.provide(
            LanguageModel.generateText({ prompt: prompt as never }),
            ToLanguageModel.layer
          ) as Effect.Effect<unknown, AiError.AiError, ModelClient.ModelClient>
        )
        const text = server.seen[0]!.body
        assert.strictEqual(text.split(at.toISOString()).length, 3, text)
      })
    )
  }
})

describe("thoughts in tags (so-05-n2)", () => {
  for (const api of Apis.apis) {
    it.live(`do not are in a text answer (${api})`, () =>
      Effect.gen(function* () {
        const server = yield* Wire.serve(() => ({ body: answerOf(api, "<think>\nhm\n</think>\n\nParis") }))
        const { value } = yield* Wire.ask(Apis.layerOf(api, Apis.baseOf(api, server.url), pool), Wire.question("x"))
        assert.strictEqual(ModelResponse.text(value!), "Paris")
        assert.deepStrictEqual(value!.parts[0], { type: "reasoning", text: "hm" })
      })
    )
  }
})
