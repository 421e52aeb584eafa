/** A run, and the store that it is in. */
import type * as RunRepo from "@pipe/core/internal/RunRepo"
import type * as Store from "@pipe/core/Store"

export interface Located {
  readonly store: Store.Service
  readonly run: RunRepo.StoredRun
}
