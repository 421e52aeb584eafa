/**
 * Requests that a layer sends itself, recorded under their purpose. See `ModelClient.aside`.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Varying from "../flow/Varying.ts"
import * as Quality from "../routing/Quality.ts"
import * as CallContext from "./CallContext.ts"
import * as CallRecording from "./CallRecording.ts"
import type { Send } from "./Send.ts"

/** Sends without what belongs to the step's own call. */
export const make =
  (purpose: string, send: Send): Send =>
  (request) =>
    Effect.flatMap(CallRecording.CallRecording, (recording) =>
      Effect.provideService(
        (recording === undefined ? send : recording.over(send))(request),
        CallRecording.CallRecording,
        undefined
      )
    ).pipe(
      CallContext.provideState({ check: undefined, outcome: undefined }),
      CallContext.provide({ purpose, accept: CallContext.empty.accept, isReask: false }),
      Effect.provideService(Varying.Varying, undefined),
      Effect.provideService(Quality.Quality, undefined)
    )
