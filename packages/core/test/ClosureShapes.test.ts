/** Values of every shape that a step may capture: an edit of one runs its rows again, and what cannot be compared is said. */
import { assert, describe, it } from "@effect/vitest"
import { Flow, type Node, Source } from "@pipe/core"
import { Context, Data, Effect, Layer, Option, Schema } from "effect"
import { LanguageModel, Tool, Toolkit } from "effect/ai"
import { edits } from "./Edits.ts"

const rows = Source.fromIterable("rows", ["a", "b"])

/** A step that gives what a function makes of an answer. */
const through = (f: (text: string) => unknown) =>
  Flow.step("a", { row: rows }, ({ row }) =>
    Effect.map(LanguageModel.generateText({ prompt: row }), ({ text }) => f(text))
  )

const upper = (text: string) => text.toUpperCase()
const lower = (text: string) => text.toLowerCase()
const plus = (n: number) => (text: string) => text + n

const withMember = (f: (text: string) => string) => {
  const api = Object.assign(() => "", { post: f })
  return (text: string) => api.post(text)
}

const patched = (f: (text: string) => string) => {
  class A {
    declare post: (text: string) => string
  }
  A.prototype.post = f
  const a = new A()
  return (text: string) => a.post(text)
}

class Extra extends Map<string, string> {
  suffix = "x"
}

const mapOf = (suffix: string) => {
  const map = new Extra()
  map.suffix = suffix
  return (text: string) => text + map.suffix
}

const listOf = (note: string) => {
  const list = Object.assign(["a"], { note })
  return (text: string) => text + list.note
}

const erring = (code: number) => {
  const error = Object.assign(new Error("no"), { code })
  return (text: string) => text + error.code
}

const base = (n: number) =>
  class {
    of(text: string) {
      return text + n
    }
  }

const derived = (n: number) => {
  class B extends base(n) {}
  const b = new B()
  return (text: string) => b.of(text)
}

const effects = (isSync: boolean) => {
  const one = () => Effect.succeed("x")
  const effect: Effect.Effect<unknown> = isSync ? Effect.sync(one) : Effect.suspend(one)
  return () => Effect.isEffect(Effect.runSync(effect))
}

const boxed = (suffix: string) => {
  class T {
    of(text: string) {
      return text + suffix
    }
  }
  const box = Option.some(new T())
  return (text: string) => Option.getOrThrow(box).of(text)
}

const picked = (note: (text: string) => string) => {
  const style = { title: upper, body: lower, note }
  return (text: string) => style.title(text) + style.body(text) + style.note(text)
}

const firstOf = (kinds: { readonly [kind: string]: RegExp }) => (text: string) =>
  Object.entries(kinds).find(([, kind]) => kind.test(text))?.[0]

const dense = (n: number) => {
  const all = Array.from({ length: 12 }, (_, i) => ({ i: i * n, links: new Array<() => unknown>() }))
  for (const one of all) one.links.push(...all.filter((other) => other !== one).map((other) => () => other))
  return (text: string) => text + all.length
}

class Db extends Context.Service<Db, { readonly table: string }>()("Db") {}

const Order = Tool.make("order", { parameters: Schema.Struct({ id: Schema.String }), success: Schema.String })
const Orders = Toolkit.make(Order)

const handled = (state: string) => {
  const handlers = Orders.toLayer({ order: () => Effect.succeed(state) })
  return Flow.step("a", { row: rows }, ({ row }) =>
    Effect.map(LanguageModel.generateText({ prompt: row, toolkit: Orders }), ({ text }) => text).pipe(
      Effect.provide(handlers)
    )
  )
}

const provided = (table: string) => {
  const layer = Layer.succeed(Db, { table })
  return through(
    (text) =>
      text
      + Effect.runSync(
        Effect.provide(
          Effect.map(Db, (db) => db.table),
          layer
        )
      )
  )
}

class Refused extends Data.TaggedError("Refused")<{ readonly n: number }> {}

const refusing = (n: number) => {
  const error = new Refused({ n })
  return (text: string) => text + error.n
}

describe("an edit of a captured value runs its rows again", () => {
  const changed: ReadonlyArray<readonly [name: string, before: Node.Any, after: Node.Any]> = [
    ["a curried function's argument", through(plus(1)), through(plus(2))],
    ["a function that stands under a second name", through(picked(lower)), through(picked(upper))],
    ["two closures of one text that change places", through(withMember(plus(1))), through(withMember(plus(2)))],
    [
      "the order of a record's fields",
      through(firstOf({ fruit: /a/i, food: /./ })),
      through(firstOf({ food: /./, fruit: /a/i }))
    ],
    ["a function on a function", through(withMember(upper)), through(withMember(lower))],
    ["a method that is put on a prototype", through(patched(upper)), through(patched(lower))],
    ["a field of a Map's subclass", through(mapOf("x")), through(mapOf("y"))],
    ["a field of an array", through(listOf("x")), through(listOf("y"))],
    ["a field of an error", through(erring(1)), through(erring(2))],
    ["a field of a tagged error", through(refusing(1)), through(refusing(2))],
    ["what a superclass captures", through(derived(1)), through(derived(2))],
    ["sync and suspend of one function", through(effects(true)), through(effects(false))],
    ["an instance inside of an Option", through(boxed("x")), through(boxed("y"))],
    ["records that all hold each other", through(dense(1)), through(dense(2))],
    ["the handlers of a toolkit", handled("open"), handled("shipped")],
    ["a layer with a service", provided("a"), provided("b")]
  ]
  for (const [name, before, after] of changed) {
    it.live(name, () =>
      Effect.gen(function* () {
        const { calls, warnings } = yield* edits([before, before, after, after])
        assert.deepStrictEqual(warnings, [])
        assert.deepStrictEqual(calls, [2, 0, 2, 0])
      })
    )
  }
})

describe("what cannot be compared leaves rows unused, with a word", () => {
  const revoked = Proxy.revocable({ a: 1 }, {})
  revoked.revoke()
  const opaque: ReadonlyArray<readonly [name: string, value: object, what: string]> = [
    ["a proxy of a record", new Proxy({ a: 1 }, { get: () => 2 }), "a value known only at run time"],
    ["a proxy of a function", new Proxy(() => 1, { apply: () => 2 }), "a proxy"],
    ["a revoked proxy", revoked.proxy, "a value known only at run time"],
    ["a formatter's function", new Intl.NumberFormat("en").format, "a built-in function with captured values"],
    ["a promise", Promise.resolve(1), "a value known only at run time"]
  ]
  for (const [name, held, what] of opaque) {
    it.live(name, () =>
      Effect.gen(function* () {
        const node = through((text) => `${text}${typeof held}`)
        const { calls, warnings } = yield* edits([node, node])
        assert.deepStrictEqual(calls, [2, 2])
        assert.match(warnings[0]!, /^step a \(.*\.ts:\d+\) captures f\.held /)
        assert.include(warnings[0], `(${what})`)
      })
    )
  }

  it.live("a list that is 20,000 levels deep", () =>
    Effect.gen(function* () {
      let list: unknown = undefined
      for (let i = 0; i < 20_000; i++) list = { list }
      const held = list
      const { calls, warnings } = yield* edits([through((text) => `${text}${typeof held}`)])
      assert.deepStrictEqual(calls, [2])
      assert.include(warnings[0], "values nested too deep")
    })
  )
})

describe("what runs nothing again", () => {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
  const now = {
    get now() {
      return Date.now()
    }
  }
  const same: ReadonlyArray<readonly [name: string, before: Node.Any, after: Node.Any]> = [
    [
      "a getter that gives another value each time",
      through((text) => text + now.now),
      through((text) => text + now.now)
    ],
    ["a long constant", through((text) => alphabet.indexOf(text)), through((text) => alphabet.indexOf(text))],
    [
      "quotes around a field's name",
      // oxfmt-ignore
      through((text) => ({ "a": text })),
      through((text) => ({ a: text }))
    ]
  ]
  for (const [name, before, after] of same) {
    it.live(name, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual((yield* edits([before, after])).calls, [2, 0])
      })
    )
  }
})

describe("services of a flow", () => {
  it.live("count for its steps", () =>
    Effect.gen(function* () {
      const node = Flow.step("a", { row: rows }, ({ row }) =>
        Effect.flatMap(Db, ({ table }) =>
          Effect.map(LanguageModel.generateText({ prompt: row }), ({ text }) => table + text)
        )
      )
      const tables = ["x", "x", "y"]
      const { calls, outs } = yield* edits([node, node, node], {
        services: (at) => Layer.succeed(Db, { table: tables[at]! }) as Layer.Layer<never>
      })
      assert.deepStrictEqual(calls, [2, 0, 2])
      assert.deepStrictEqual(outs[2], ["yA", "yB"])
    })
  )
})
