/**
 * The budget of a run that several processes share, on the server of its store.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Attempt from "../client/Attempt.ts"
import type * as BudgetAccount from "../ledger/BudgetAccount.ts"
import * as Database from "../store/Database.ts"
import * as Lease from "../store/Lease.ts"

/** A process is granted this share of what is left, so that the grants grow smaller towards the end. */
const SHARE = 16

/** An attempt of a run: what an earlier one was granted is not spent in the next. */
interface Of {
  readonly run: number
  readonly attempt: number
}

/** The grants of a run's budget. */
export const grants = (database: Database.Service, of: Of): BudgetAccount.Grants => {
  const { attempt, run } = of
  /** The accounts of which this process may have something. */
  const holding = new Set<string>()
  const mine = () => database.server?.lease.current() ?? null
  return {
    take: (name, wanted) => {
      holding.add(name)
      return take(database, of, mine(), name, wanted)
    },
    giveBack: (release) =>
      Effect.suspend(() => {
        const rest = release().filter(({ name }) => holding.has(name))
        if (rest.length === 0) return Effect.void
        for (const { name } of rest) holding.delete(name)
        return Effect.ignore(
          database.transaction(
            rest.flatMap(({ money, name, tokens }) => [
              {
                sql: "UPDATE accounts SET money = money + ?, tokens = tokens + ? WHERE run = ? AND attempt = ? AND name = ?",
                params: [money ?? 0n, tokens ?? 0, run, attempt, name]
              },
              {
                sql: "DELETE FROM grants WHERE run = ? AND attempt = ? AND name = ? AND lease = ?",
                params: [run, attempt, name, mine()]
              }
            ])
          )
        )
      }),
    isSpending: (names) =>
      Effect.orElseSucceed(
        Effect.map(
          database.query(
            `SELECT 1 AS one WHERE EXISTS (SELECT 1 FROM grants WHERE run = ? AND attempt = ?
                AND name IN (${names.map(() => "?").join(", ")}) AND lease <> ? AND ${Lease.lasts("grants.lease")})
              OR EXISTS (SELECT 1 FROM calls WHERE run = ? AND lease IS DISTINCT FROM ? AND ${Lease.lasts("calls.lease")})`,
            [run, attempt, ...names, mine() ?? 0, run, mine()]
          ),
          (rows) => rows.length > 0
        ),
        () => false
      )
  }
}

/** Takes from an account, and notes who has something of it. Nothing is granted that is not known to be. */
const take = (
  database: Database.Service,
  { attempt, run }: Of,
  lease: number | null,
  name: string,
  wanted: Attempt.Held
): Effect.Effect<Attempt.Held> => {
  const transact = (sql: string, params: ReadonlyArray<unknown>) =>
    Effect.map(database.transaction([{ sql, params }]), ([rows = []]) => rows)
  return Effect.map(
    Effect.orElseSucceed(
      transact(
        `WITH taken AS (UPDATE accounts SET money = accounts.money - least(accounts.money, greatest(accounts.money / ${SHARE}, CAST(? AS BIGINT))),
            tokens = accounts.tokens - least(accounts.tokens, greatest(accounts.tokens / ${SHARE}, CAST(? AS BIGINT)))
          FROM (SELECT money, tokens FROM accounts WHERE run = ? AND attempt = ? AND name = ? FOR UPDATE) AS before
          WHERE run = ? AND attempt = ? AND name = ? RETURNING before.money - accounts.money AS money, before.tokens - accounts.tokens AS tokens),
        noted AS (INSERT INTO grants (run, attempt, name, lease) SELECT ?, ?, ?, ? FROM taken WHERE money > 0 OR tokens > 0 ON CONFLICT DO NOTHING)
        SELECT money, tokens FROM taken`,
        [wanted.money, wanted.tokens, run, attempt, name, run, attempt, name, run, attempt, name, lease]
      ),
      () => []
    ),
    ([row]) => ({ money: Database.totalBigInt(row?.["money"]), tokens: Database.total(row?.["tokens"]) })
  )
}
