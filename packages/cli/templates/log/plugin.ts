/** Writes a line for each attempt at a provider. Put `attemptLog(…)` anywhere in a stack. */
import { ModelClient, ModelFailure, Usage } from "@pipe/core"
import { Effect } from "effect"

/** `onAttempt` sees retries, calls of other layers and requests of batches too. */
export const attemptLog = (write: (line: string) => void) =>
  ModelClient.onAttempt(
    ({ isBatched = false, isReask = false, provider, request }) =>
      Effect.succeed({
        // Called once, however the attempt ends.
        onEnd: ({ billed, error, milliseconds, response }) =>
          write(
            JSON.stringify({
              provider,
              model: response?.model ?? request.model,
              billed,
              ...(milliseconds === undefined ? undefined : { milliseconds }),
              ...(response?.usage === undefined ? undefined : { tokens: Usage.totalTokens(response.usage) }),
              ...(error === undefined ? undefined : { error: ModelFailure.message(error) }),
              ...(isBatched ? { isBatched } : undefined),
              ...(isReask ? { isReask } : undefined)
            })
          )
      }),
    { name: "AttemptLog", answers: false }
  )
