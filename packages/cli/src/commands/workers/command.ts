/** `pipe workers`: lists the workers of a store. */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as Switch from "../../flags/Switch.ts"

export const command = Command.make(
  "workers",
  {
    json: Switch.make("json", "one JSON line per worker"),
    prometheus: Switch.make("prometheus", "as Prometheus text, for its textfile collector"),
    store: StoreFlag.flag
  },
  (input) =>
    Effect.flatMap(
      Effect.promise(() => import("./handler.ts")),
      ({ list }) => list(input)
    )
).pipe(Command.withDescription("List the workers on a PostgreSQL store: what they do, and why one gets no rows"))
