/**
 * The budget of a run that several processes share, on the server of its store.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Budget from "../ledger/Budget.ts"
import type * as BudgetAccount from "../ledger/BudgetAccount.ts"
import * as Database from "../store/Database.ts"
import * as Lease from "../store/Lease.ts"

/** A process is granted this share of what is left, so that the grants grow smaller towards the end. */
const SHARE = 16

/** Gives back what a process was granted and does not spend now. */
export const giveBack = (budget: Budget.Budget | undefined, grants: BudgetAccount.Grants): Effect.Effect<void> =>
  Effect.suspend(() => {
    const rest = (budget?.release() ?? []).filter(({ money, tokens }) => (money ?? 0n) > 0n || (tokens ?? 0) > 0)
    return rest.length === 0 ? Effect.void : grants.giveBack(rest)
  })

/** The grants of a run's budget. */
export const grants = (
  database: Database.Service,
  /** An attempt of a run: what an earlier one was granted is not spent in the next. */
  { attempt, run }: { readonly run: number; readonly attempt: number }
): BudgetAccount.Grants => ({
  take: (name, wanted) =>
    Effect.map(
      Effect.orElseSucceed(
        database.query(
          `UPDATE accounts SET money = accounts.money - least(accounts.money, greatest(accounts.money / ${SHARE}, CAST(? AS BIGINT))),
            tokens = accounts.tokens - least(accounts.tokens, greatest(accounts.tokens / ${SHARE}, CAST(? AS BIGINT)))
          FROM (SELECT money, tokens FROM accounts WHERE run = ? AND attempt = ? AND name = ? FOR UPDATE) AS before
          WHERE run = ? AND attempt = ? AND name = ? RETURNING before.money - accounts.money AS money, before.tokens - accounts.tokens AS tokens`,
          [wanted.money, wanted.tokens, run, attempt, name, run, attempt, name]
        ),
        // Nothing is granted that is not known to be.
        () => []
      ),
      ([row]) => ({ money: Database.totalBigInt(row?.["money"]), tokens: Database.total(row?.["tokens"]) })
    ),
  giveBack: (rest) =>
    Effect.ignore(
      database.transaction(
        rest.map(({ money, name, tokens }) => ({
          sql: "UPDATE accounts SET money = money + ?, tokens = tokens + ? WHERE run = ? AND attempt = ? AND name = ?",
          params: [money ?? 0n, tokens ?? 0, run, attempt, name]
        }))
      )
    ),
  isSpending: Effect.orElseSucceed(
    Effect.map(
      database.query(
        `SELECT 1 AS one FROM calls WHERE run = ? AND lease IS DISTINCT FROM ? AND ${Lease.lasts("calls.lease")} LIMIT 1`,
        [run, database.server?.lease.current() ?? null]
      ),
      (rows) => rows.length > 0
    ),
    () => false
  )
})
