/**
 * Texts that share a prompt.
 *
 * @internal
 */
import type * as CallContext from "../client/CallContext.ts"
import type * as Varying from "../flow/Varying.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import type * as PackRepo from "./PackRepo.ts"
import type * as PackShares from "./PackShares.ts"
import type * as PackSize from "./PackSize.ts"

/** Texts that may be packed together. */
export interface PackScope {
  readonly step: string
  readonly size: PackSize.PackSize
  readonly shares: PackShares.PackShares
  isAudited: boolean
}

/** A row of a group. A row that another process grouped has no check here: it checks its share itself. */
export interface GroupRow extends PackRepo.PackedRow {
  readonly accept?: CallContext.Accept
}

/** Texts that share a prompt. */
export interface PackGroup extends PackRepo.StoredGroup {
  readonly rows: ReadonlyArray<GroupRow>
  readonly scope: PackScope
  /** The request as it will reach the provider, with a mark in place of its text. */
  readonly template: ModelRequest.Completion
  readonly pack: Varying.Pack
}
