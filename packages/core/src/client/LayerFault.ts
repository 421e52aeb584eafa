/**
 * Names the layer that breaks the contract of `send`: one that interrupts itself, or returns something that is not an
 * answer. The row fails with the name; the run continues.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { ModelRequest } from "../model/ModelRequest.ts"
import type { ModelResponse, ResponseTo } from "../model/ModelResponse.ts"
import type { Send } from "./Send.ts"
import * as Suspension from "./Suspension.ts"

/** A layer that breaks the contract of `send`. */
class LayerFault extends Error {
  override readonly name = "LayerFault"
}

/** Errors whose origin is known: a layer's code, or a step's own check that a layer runs. */
const known = new WeakSet<Error>()

/** The message of Effect's error when a promise's effect was interrupted. */
const INTERRUPTED = "All fibers interrupted without error"

/** Runs an author's function that layers call. What it throws is not the layer's fault. */
export const notOfLayer = <A>(f: () => A): A => {
  try {
    return f()
  } catch (error) {
    if (error instanceof Error) known.add(error)
    throw error
  }
}

/** Says in the message of a defect which layer threw it, when no other layer is named in it. */
const withName = <E>(name: string, cause: Cause.Cause<E>): Cause.Cause<E> => {
  if (!cause.reasons.some(Cause.isDieReason)) return cause
  return Cause.fromReasons(
    cause.reasons.map((reason) => {
      if (!Cause.isDieReason(reason)) return reason
      const { defect } = reason
      if (!(defect instanceof Error)) {
        return Cause.makeDieReason(new LayerFault(`layer ${name}: ${String(defect)}`, { cause: defect }))
      }
      if (defect.message === INTERRUPTED && !known.has(defect)) {
        return Cause.makeDieReason(
          new LayerFault(
            `layer ${name} runs \`send\` outside of its fiber, such as by Effect.runPromise, which batches cannot interrupt and run again: run the flow with --online, or send within the effect`
          )
        )
      }
      if (!(defect instanceof LayerFault) && !known.has(defect)) {
        known.add(defect)
        // The stack stays: it shows the place in the author's code.
        Object.defineProperty(defect, "message", { value: `layer ${name}: ${defect.message}`, configurable: true })
      }
      return reason
    })
  )
}

/** A function that sends, with the name of its layer in what it does wrong. */
export const named = (name: string, send: Send): Send => {
  /** Not called when the row itself is interrupted from outside. */
  const onFailure = (cause: Cause.Cause<AiError.AiError>): Effect.Effect<never, AiError.AiError> => {
    if (Cause.hasInterruptsOnly(cause) && !Suspension.isSuspended(cause))
      return Effect.die(new LayerFault(`layer ${name} interrupted the call`))
    return Effect.failCause(withName(name, cause))
  }
  /** An author may have cast: what comes from a layer is checked like what comes from outside. */
  const checks = (tag: ModelResponse["_tag"]) => ({
    onFailure,
    onSuccess: (response: ModelResponse) =>
      response?._tag === tag
        ? Effect.succeed(response)
        : Effect.die(new LayerFault(`layer ${name} returned something that is not a ${tag}`))
  })
  const byTag = {
    Completion: checks("CompletionResponse"),
    Embedding: checks("EmbeddingResponse"),
    Decision: checks("DecisionResponse")
  }
  return <R extends ModelRequest>(request: R) =>
    Effect.suspend(() => {
      try {
        return Effect.matchCauseEffectEager(send(request), byTag[request._tag])
      } catch (defect) {
        return onFailure(Cause.die(defect))
      }
    }) as Effect.Effect<ResponseTo<R>, AiError.AiError>
}
