/** What every view of a run is given. */
import type * as RetryRun from "../RetryRun.ts"
import type * as RunData from "../RunData.ts"
import type * as Route from "./Route.ts"

/** What the store knows of a run. Parts of the report are as the command writes them in JSON. */
export interface Summary {
  readonly item: RunData.RunItem
  readonly options: { readonly file?: string; readonly budget?: ReadonlyArray<string> }
  readonly report: {
    readonly nodes: ReadonlyArray<{ readonly name: string; readonly kind: string }>
    readonly spent: ReadonlyArray<RunData.Spent>
    readonly summary: null | {
      readonly rows: { readonly read: number; readonly failed: number; readonly dropped: number }
      readonly nodes: ReadonlyArray<{
        readonly name: string
        readonly kind: string
        readonly done: number
        readonly failed: number
        readonly reused: number
        readonly skipped: number
      }>
      readonly calls: { readonly attempts: number; readonly failedAttempts: number }
      readonly baseline: string
      readonly cost: string
      readonly savings: { readonly [strategy: string]: string }
      readonly prices?: { readonly name: string; readonly date: string }
      readonly outputs: ReadonlyArray<{ readonly name: string; readonly rows: number }>
      readonly waited: number
      readonly milliseconds: number
      readonly failure?: string
      readonly routes?: ReadonlyArray<{
        readonly step: string
        readonly requests: number
        readonly strong: number
        readonly audited: number
        readonly agreement: number
        readonly low: number
        readonly high: number
        readonly promised?: { readonly target: number; readonly standard: string }
      }>
      readonly reuse?: ReadonlyArray<{ readonly [field: string]: number | string }>
      readonly packs?: ReadonlyArray<{ readonly [field: string]: number | string }>
    }
    readonly plan: null | {
      readonly rows: number
      readonly cost: { readonly low: string; readonly expected: string; readonly high: string }
      readonly milliseconds?: number
      readonly lines: ReadonlyArray<{ readonly step: string; readonly calls: number }>
    }
  }
  /** Whether the whole ledger was read: until then figures of steps are less than all. */
  readonly isWhole: boolean
  readonly retry: RetryRun.Retry | null
}

export interface ViewProps {
  readonly run: string
  readonly route: Route.Route
  readonly summary: Summary
  readonly again: () => void
}

/** Whether a run has ended, as far as is known. */
export const isOver = (state: string | undefined): boolean => state !== "running" && state !== "waiting"

/** How often a run is asked for, in milliseconds: more often while it runs. */
export const everyOf = (state: string | undefined): number => (isOver(state) ? 10_000 : 2_000)
