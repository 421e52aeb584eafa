/**
 * One limit of a budget, with the amounts spent and reserved.
 *
 * @internal
 */
import type * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Attempt from "../client/Attempt.ts"
import * as ModelName from "../model/ModelName.ts"
import * as Money from "../price/Money.ts"

/** How much may be spent, and what happens when it is spent. */
export interface BudgetLimits {
  /** USD, as a number or as exact decimal text. */
  readonly usd?: number | string
  /** Input and output tokens together. */
  readonly tokens?: number
  /** `stop` (default) is a cap; `warn` warns once and continues. */
  readonly onExceeded?: "stop" | "warn"
}

/** Limits for everything, and for single steps and models (by name, including dated versions). */
export interface Options extends BudgetLimits {
  readonly steps?: { readonly [step: string]: BudgetLimits }
  readonly models?: { readonly [model: string]: BudgetLimits }
}

/**
 * A budget is invalid: not an amount, negative, or without a limit.
 *
 * **Remedy** Write amounts as decimal strings in USD, and limits as whole numbers: `{ usd: "0.5", tokens: 100_000 }`.
 */
export class BudgetError extends Schema.TaggedError<BudgetError>()("BudgetError", {
  message: Schema.String
}) {}

export interface BudgetAccount {
  readonly name: string
  /** Whether it counts every step and model. */
  readonly isForAll: boolean
  readonly applies: (step: string, model: string) => boolean
  /** The limits. Where several processes share a budget, they are what was granted to this one so far. */
  money: Money.Money | undefined
  tokens: number | undefined
  /** The limits of all processes together, when this one spends what it is granted. */
  whole: { readonly money: Money.Money | undefined; readonly tokens: number | undefined } | undefined
  readonly warns: boolean
  spentMoney: Money.Money
  spentTokens: number
  reservedMoney: Money.Money
  reservedTokens: number
  warned: boolean
}

/** The accounts of a budget. Throws a `BudgetError` for invalid amounts. */
export const all = (options: Options): ReadonlyArray<BudgetAccount> =>
  [
    make("the budget", options, undefined),
    ...Object.entries(options.steps ?? {}).map(([name, limits]) =>
      make(`the budget of step ${name}`, limits, (step) => step === name)
    ),
    ...Object.entries(options.models ?? {}).map(([name, limits]) =>
      make(`the budget of model ${name}`, limits, (_, model) =>
        ModelName.isVersionOf(ModelName.withoutPrefix(model), ModelName.withoutPrefix(name))
      )
    )
  ].filter((account) => account !== undefined)

const make = (
  name: string,
  limits: BudgetLimits,
  applies: BudgetAccount["applies"] | undefined
): BudgetAccount | undefined => {
  if (limits.usd === undefined && limits.tokens === undefined) return undefined
  const money = limits.usd === undefined ? undefined : Option.getOrUndefined(Money.fromUsd(String(limits.usd)))
  if (
    (limits.usd !== undefined && (money === undefined || money < Money.zero))
    || (limits.tokens !== undefined && !(limits.tokens >= 0))
  ) {
    throw new BudgetError({
      message: `${name}: ${limits.usd ?? limits.tokens} is not an amount: write { usd: 5 }, { usd: "0.05" } or { tokens: 200000 }`
    })
  }
  return {
    name,
    isForAll: applies === undefined,
    applies: applies ?? (() => true),
    money,
    tokens: limits.tokens,
    whole: undefined,
    warns: limits.onExceeded === "warn",
    spentMoney: Money.zero,
    spentTokens: 0,
    reservedMoney: Money.zero,
    reservedTokens: 0,
    warned: false
  }
}

/** What is left of a limit. */
export interface Rest {
  readonly name: string
  readonly money: Money.Money | undefined
  readonly tokens: number | undefined
}

export const restOf = ({ money, name, spentMoney, spentTokens, tokens }: BudgetAccount): Rest => ({
  name,
  money: money === undefined ? undefined : money > spentMoney ? money - spentMoney : Money.zero,
  tokens: tokens === undefined ? undefined : Math.max(0, tokens - spentTokens)
})

/** A budget that several processes share: each spends what it was granted, and the grants together stay within it. */
export interface Grants {
  /** Grants more of an account: this much, a share of what is left, or the rest. */
  readonly take: (name: string, wanted: Attempt.Held) => Effect.Effect<Attempt.Held>
  /** Gives back what this process releases, because it does not spend it now. */
  readonly giveBack: (release: () => ReadonlyArray<Rest>) => Effect.Effect<void>
  /** Whether other processes have something of these accounts, or calls in flight, and may leave some of it. */
  readonly isSpending: (names: ReadonlyArray<string>) => Effect.Effect<boolean>
}

/** Takes the limits away: they are granted piece by piece. Those that only warn need the totals of all processes. */
export const empty = (accounts: ReadonlyArray<BudgetAccount>): ReadonlyArray<BudgetAccount> =>
  accounts.filter((account) => {
    if (account.warns) return false
    account.whole = { money: account.money, tokens: account.tokens }
    if (account.money !== undefined) account.money = Money.zero
    if (account.tokens !== undefined) account.tokens = 0
    return true
  })

/** Takes from an account what is neither spent nor reserved. */
export const takeRest = (account: BudgetAccount): Rest => {
  const { name } = account
  const money = account.money === undefined ? undefined : account.money - account.spentMoney - account.reservedMoney
  const tokens =
    account.tokens === undefined ? undefined : account.tokens - account.spentTokens - account.reservedTokens
  if (money !== undefined && money > Money.zero) account.money! -= money
  if (tokens !== undefined && tokens > 0) account.tokens! -= tokens
  return {
    name,
    money: money === undefined ? undefined : money > Money.zero ? money : Money.zero,
    tokens: tokens === undefined ? undefined : Math.max(0, tokens)
  }
}

/** Whether an account has no room for an amount. */
export const lacks = (account: BudgetAccount, { money, tokens }: Attempt.Held): boolean =>
  (account.money !== undefined && account.money - account.spentMoney - account.reservedMoney < money)
  || (account.tokens !== undefined && account.tokens - account.spentTokens - account.reservedTokens < tokens)

/** Reserves an amount in each account. */
export const hold = (accounts: ReadonlyArray<BudgetAccount>, held: Attempt.Held): void => {
  for (const account of accounts) {
    account.reservedMoney += held.money
    account.reservedTokens += held.tokens
  }
}

/** Releases a reservation. */
export const release = (accounts: ReadonlyArray<BudgetAccount>, held: Attempt.Held): void => {
  for (const account of accounts) {
    account.reservedMoney -= held.money
    account.reservedTokens -= held.tokens
  }
}

/** Charges each account. */
export const spend = (accounts: ReadonlyArray<BudgetAccount>, money: Money.Money, tokens: number): void => {
  for (const account of accounts) {
    account.spentMoney += money
    account.spentTokens += tokens
  }
}

export const isSpent = (account: BudgetAccount): boolean =>
  (account.money !== undefined && account.spentMoney >= account.money)
  || (account.tokens !== undefined && account.spentTokens >= account.tokens)

/** Describes how much is spent. */
export const status = (account: BudgetAccount): string =>
  account.whole === undefined ? spentOf(account) : `of ${limitOf(account.whole)} is spent by the processes of the run`

const limitOf = ({ money, tokens }: NonNullable<BudgetAccount["whole"]>): string =>
  [...(money === undefined ? [] : [Money.format(money)]), ...(tokens === undefined ? [] : [`${tokens} tokens`])].join(
    " and "
  )

const spentOf = (account: BudgetAccount): string =>
  [
    ...(account.money === undefined
      ? []
      : [`of ${Money.format(account.money)} is at ${Money.format(account.spentMoney)}`]),
    ...(account.tokens === undefined ? [] : [`of ${account.tokens} tokens is at ${account.spentTokens}`])
  ].join(" and ")
