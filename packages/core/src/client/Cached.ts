/**
 * What a layer that answers equal requests without a call says of itself.
 *
 * @internal
 */
import type * as Effect from "effect/Effect"
import type { ModelRequest } from "../model/ModelRequest.ts"
import type { ModelResponse } from "../model/ModelResponse.ts"
import type { CallContext } from "./CallContext.ts"

/** The layer answers equal requests without a call. */
export interface Cached {
  /** How long it reuses an answer, in milliseconds. Default: unlimited. */
  readonly timeToLive?: number
  /**
   * The kept answer to a request as it arrives at the layer, for plans: nothing is sent or written. Without it, a plan
   * counts every call.
   */
  readonly peek?: (request: ModelRequest, call: CallContext) => Effect.Effect<ModelResponse | undefined>
}
