/** The kinds of errors: messages of a provider that differ in what varies are one kind. */
import { assert, describe, it } from "@effect/vitest"
import * as ErrorKind from "../src/ui/ErrorKind.ts"

const kinds = (messages: ReadonlyArray<string>): number => new Set(messages.map((text) => ErrorKind.of("E", text))).size

describe("kinds of errors", () => {
  it("leave out numbers, quoted texts, and names of requests", () => {
    for (const messages of [
      ["429: wait 20.5 s", "429: wait 3 s"],
      ["no model 'a'", "no model 'b c'"],
      [
        `it answered broken JSON ("{\\"a\\": 1, \\"b")`,
        `it answered broken JSON ("{\\"other\\"")`,
        `it answered broken JSON ("[`
      ],
      ["request req_011CSHoEeqs5C35K2UUqR7Fy failed", "request req_92f0a7b6c5d4e3a2b1c0d9e8 failed"],
      ["file 3fae9c1d-88aa-4b44-9d9c-77f0d1c2b3a4 is gone", "file 0b9d8c7e-1122-4f33-8a8b-99e0f1a2b3c4 is gone"]
    ])
      assert.strictEqual(kinds(messages), 1, messages[0])
    assert.strictEqual(kinds(["the model refused", "the answer is too long", "the schema has no field"]), 3)
  })

  it("of a long message take no time that shows in a test", () => {
    for (const unit of ["\\", '"', "a1-", "'", "1.", "…"])
      assert.isBelow(ErrorKind.of("E", unit.repeat(1_000_000)).length, 600)
  })
})
