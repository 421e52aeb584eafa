/** Text from outside in progress to a person. */
import { assert, describe, it } from "@effect/vitest"
import * as SafeText from "../src/encoding/SafeText.ts"
import * as Secret from "../src/encoding/Secret.ts"
import * as fc from "fast-check"

// oxlint-disable-next-line no-control-regex -- they are what is looked for
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/

/** Text with what a terminal obeys in it: ECMA-48 sequences whole, cut and nested. */
const hostile = fc.string({
  unit: fc.oneof(
    fc.constantFrom(
      "\u001b",
      "[",
      "]",
      "52;c;",
      "\u0007",
      "\u001b\\",
      "\u009b",
      "\u009d",
      "\u009c",
      "P",
      "2J",
      "m",
      "\r",
      "\n",
      "\t",
      "\u202e"
    ),
    fc.string({ unit: "binary", maxLength: 3 })
  ),
  maxLength: 40
})

describe("a line", () => {
  it("has no control character and no line break, whatever it is made of, and is as long as it may be", () => {
    fc.assert(
      fc.property(hostile, fc.integer({ min: 1, max: 30 }), (text, most) => {
        const line = SafeText.line(text, most)
        assert.notMatch(line, CONTROL)
        assert.notMatch(line, /[\n\t\u2028\u202e]/)
        assert.isAtMost(line.length, most + 1)
        assert.strictEqual(line, line.toWellFormed())
      }),
      { numRuns: 2_000 }
    )
  })

  it("is masked before it is cut", () => {
    Secret.register("canary-0123456789-abcdef")
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 1, max: 80 }), (before, most) => {
        const line = SafeText.line(`${"x".repeat(before)} canary-0123456789-abcdef`, most)
        assert.notInclude(line, "canary")
      })
    )
  })

  it("of megabytes takes no time that shows in a test", () => {
    for (const unit of ["\u001b]", "\u001b[", " ", "\u009b0;", "\u001bP\u001b"]) {
      assert.isAtMost(SafeText.line(unit.repeat(2_000_000), 100).length, 101)
    }
  })
})

describe("text for a terminal", () => {
  it("keeps what is said, with tabs and line ends", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom("a", "é", "漢", " ", "\n", "\t", "🐝") }), (text) => {
        assert.strictEqual(SafeText.withoutControls(text), text)
      })
    )
  })
})

describe("JSON", () => {
  it("means the same with its control characters escaped", () => {
    fc.assert(
      fc.property(hostile, (value) => {
        const text = SafeText.json(JSON.stringify({ value }))
        assert.deepStrictEqual(JSON.parse(text), { value })
        assert.notMatch(text, CONTROL)
      })
    )
  })
})

describe("a secret", () => {
  it("is masked in each of its forms, and a short one where it stands as a word", () => {
    Secret.register("k7Q9z")
    assert.strictEqual(Secret.mask("key k7Q9z, k7Q9z."), "key [secret], [secret].")
    assert.strictEqual(Secret.mask("xk7Q9zx"), "xk7Q9zx")
    Secret.registerUrl("postgres://me:w0rd%2Fof%20mine@host/db?api_key=querykey123")
    for (const form of ["w0rd/of mine", "w0rd%2Fof%20mine", "querykey123"]) {
      assert.strictEqual(Secret.mask(`(${form})`), "([secret])")
    }
    Secret.registerHeaders({ "x-api-key": "headerkey456", accept: "application/json" })
    assert.strictEqual(Secret.mask("headerkey456 application/json"), "[secret] application/json")
    Secret.registerEnvironment({
      DB_PASSWORD: "env-pass-1",
      PWD: "/home/me",
      SSH_AUTH_SOCK: "/tmp/agent",
      LANG: "en_US.UTF-8"
    })
    assert.strictEqual(
      Secret.mask("env-pass-1 /home/me /tmp/agent en_US.UTF-8"),
      "[secret] /home/me /tmp/agent en_US.UTF-8"
    )
  })

  it("is masked in JSON, too, after whatever is escaped", () => {
    Secret.register("h7nter2")
    const text =
      "my pass: h7nter2\nh7nter2\th7nter2 \nsk-abcdefghijklmnopqrstuv0\nBearer abcdefghijklmnop3\u0001h7nter2"
    const masked = "my pass: [secret]\n[secret]\t[secret] \n[secret]\nBearer [secret]\u0001[secret]"
    assert.strictEqual(Secret.mask(text), masked)
    assert.strictEqual(JSON.parse(Secret.mask(JSON.stringify(text))), masked)
    assert.deepStrictEqual(JSON.parse(JSON.parse(Secret.mask(JSON.stringify(JSON.stringify({ text }))))), {
      text: masked
    })
    // A number that is a password stays one in a number.
    Secret.register("12345678")
    assert.deepStrictEqual(JSON.parse(Secret.json({ a: 12_345_678, b: "12345678" })), { a: 12_345_678, b: "[secret]" })
  })

  it("is no limit, count or size", () => {
    Secret.registerEnvironment({ TOKEN_LIMIT: "654321", MAX_TOKEN_COUNT: "765432" })
    assert.strictEqual(Secret.mask("654321 765432"), "654321 765432")
  })

  it("that says that no key is needed is no secret", () => {
    for (const dummy of ["none", "ollama", "EMPTY", ""]) Secret.register(dummy)
    assert.strictEqual(Secret.mask("none of ollama is EMPTY"), "none of ollama is EMPTY")
  })
})
