/** What a failed call says of its bill and of the run, also where its cause is of another copy of this package. */
import { ModelFailure } from "@pipe/core"
import { assert, describe, it } from "@effect/vitest"
import { AiError } from "effect/ai"

const failure = (cause?: unknown, reason: "TransportError" | "EncodeError" | "InvalidUrlError" = "TransportError") =>
  AiError.make({
    module: "Mine",
    method: "send",
    reason: new AiError.NetworkError({
      reason,
      method: "POST",
      url: "http://mine",
      description: "socket hang up",
      cause
    })
  })

describe("a network error", () => {
  it("tells by its cause whether the request was sent, and whether anybody is there", () => {
    for (const isSent of [true, false]) {
      const error = failure(new ModelFailure.NoAnswer({ isUnreachable: !isSent, isSent }))
      assert.strictEqual(ModelFailure.mayBeBilled(error), isSent)
      assert.strictEqual(ModelFailure.isHopeless(error), !isSent)
    }
  })

  it("receives alike by a cause that another copy of the package has made", () => {
    const error = failure(
      Object.assign(new Error("NoAnswer"), { _tag: "NoAnswer", isUnreachable: true, isSent: false })
    )
    assert.isFalse(ModelFailure.mayBeBilled(error))
    assert.isTrue(ModelFailure.isHopeless(error))
  })

  it("may be billed where it says nothing, unless it came before anything was sent", () => {
    assert.isTrue(ModelFailure.mayBeBilled(failure()))
    assert.isTrue(ModelFailure.mayBeBilled(failure(new Error("ECONNRESET"))))
    assert.isFalse(ModelFailure.mayBeBilled(failure(undefined, "EncodeError")))
    assert.isFalse(ModelFailure.mayBeBilled(failure(undefined, "InvalidUrlError")))
    assert.isFalse(ModelFailure.isHopeless(failure()))
  })
})
