/**
 * Whether a request is sent again because its answer did not fit. The cost of such calls is shown separately.
 *
 * @internal
 */
import * as Context from "effect/Context"

export const Reask = Context.Reference<boolean>("@pipe/core/Reask", { defaultValue: () => false })
