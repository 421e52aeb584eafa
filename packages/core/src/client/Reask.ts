/**
 * Whether a request is sent again because its answer did not fit: what such calls cost has a line of its own.
 *
 * @internal
 */
import * as Context from "effect/Context"

export const Reask = Context.Reference<boolean>("@pipe/core/Reask", { defaultValue: () => false })
