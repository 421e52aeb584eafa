/**
 * What was sent to a model for a row, and what came back, for display. The runner keeps a sample. It is not part of the
 * ledger.
 *
 * @internal
 */
import type { ModelRequest } from "../model/ModelRequest.ts"
import type { ModelResponse } from "../model/ModelResponse.ts"
import type { Usage } from "../model/Usage.ts"
import type { Money } from "../price/Money.ts"
import type * as CallContext from "./CallContext.ts"
import type * as RowValues from "./RowValues.ts"

/** An attempt at a provider, or an answer that needed none. */
export interface Exchange {
  readonly caller: CallContext.Caller
  /** The inputs of the step; absent where a call answers several rows, or none. */
  readonly values?: RowValues.Values | undefined
  /** Milliseconds since 1970. */
  readonly at: number
  readonly milliseconds: number
  /** `attempt` when it was sent; otherwise where the answer was found: the cache, a batch, another row. */
  readonly origin: "attempt" | "batch" | "gathered" | Exclude<ModelResponse["origin"], "provider">
  readonly provider: string
  readonly model: string
  readonly request: ModelRequest
  readonly response?: ModelResponse | undefined
  readonly error?: string | undefined
  readonly usage?: Usage | undefined
  /** Picodollars; `undefined` when not known. */
  readonly cost?: Money | undefined
}
