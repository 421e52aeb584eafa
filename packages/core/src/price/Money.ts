/**
 * Exact amounts of money: integers of picodollars (10⁻¹² USD) in a `bigint`.
 *
 * One USD per million tokens is 1,000,000 picodollars per token, so every published token price is an integer of
 * picodollars, and sums of any length are exact.
 *
 * **Example** (adding and formatting)
 *
 * ```ts
 * import { Money } from "@pipe/core"
 *
 * const call = Money.times(Money.perMillionTokens(0.02), 6)
 * Money.format(call) // => "$0.00000012"
 * Money.toUsd(Money.sum([call, call])) // => "0.00000024"
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"

/** An amount in picodollars (10⁻¹² USD). */
export type Money = bigint

/** Zero. */
export const zero: Money = 0n

const DIGITS = 12
const PICO = 10n ** BigInt(DIGITS)

/** Adds amounts. */
export const sum = (amounts: Iterable<Money>): Money => {
  let total = zero
  for (const amount of amounts) total += amount
  return total
}

/**
 * The largest of several amounts; `undefined` of none.
 *
 * @internal
 */
export const largest = (amounts: ReadonlyArray<Money>): Money | undefined =>
  amounts.length === 0 ? undefined : amounts.reduce((most, amount) => (amount > most ? amount : most))

/** Multiplies a unit price (picodollars) by a number of units. */
export const times = (price: Money, count: number): Money => price * BigInt(count)

/**
 * The price of one token in picodollars, from a price in USD per million tokens.
 *
 * **Gotchas** Throws a `RangeError` for a price finer than one picodollar per token (10⁻⁶ USD per million), which
 * cannot be represented, and for negative or non-finite prices.
 */
export const perMillionTokens = (usdPerMillion: number): Money => {
  const pico = usdPerMillion * 1e6
  const rounded = Math.round(pico)
  if (!Number.isFinite(pico) || pico < 0 || Math.abs(pico - rounded) > 1e-3) {
    throw new RangeError(
      `${usdPerMillion} USD per million tokens is not a price: it must be 0 or more, in steps of 0.000001`
    )
  }
  return BigInt(rounded)
}

/** Parses a decimal amount of USD, such as `"5"`, `"0.0012"` or `"5usd"`; `None` when it is invalid. */
export const fromUsd = (text: string): Option.Option<Money> => {
  const match = /^\s*\$?(-?)(\d+)(?:\.(\d{1,12}))?\s*(?:usd)?\s*$/i.exec(text)
  if (match === null) return Option.none()
  const amount = BigInt(match[2]!) * PICO + BigInt((match[3] ?? "").padEnd(DIGITS, "0"))
  return Option.some(match[1] === "-" ? -amount : amount)
}

/**
 * Converts an amount of USD that a provider reports as a floating-point number, to the picodollar; `undefined` when it
 * is invalid.
 */
export const fromReported = (usd: number): Money | undefined =>
  Number.isFinite(usd) && usd >= 0 && usd < 1e6 ? BigInt(Math.round(usd * 1e12)) : undefined

/** Formats the exact amount in USD without trailing zeros: `"0.00000012"`. */
export const toUsd = (amount: Money): string => {
  const digits = (amount < 0n ? -amount : amount).toString().padStart(DIGITS + 1, "0")
  const fraction = digits.slice(-DIGITS).replace(/0+$/, "")
  return `${amount < 0n ? "-" : ""}${digits.slice(0, -DIGITS)}${fraction === "" ? "" : `.${fraction}`}`
}

/**
 * Formats an amount for display: at least two decimals, rounded (half up) to cents from 100 USD, to four decimals from
 * 1 USD, and to three significant digits below. Small amounts stay visible: `$0.00000012`.
 */
export const format = (amount: Money): string => {
  const negative = amount < 0n
  const size = negative ? -amount : amount
  const decimals =
    size >= 100n * PICO ? 2 : size >= PICO ? 4 : Math.min(DIGITS, Math.max(4, DIGITS - size.toString().length + 3))
  const unit = 10n ** BigInt(DIGITS - decimals)
  const usd = toUsd(((size + unit / 2n) / unit) * unit)
  const [whole, fraction = ""] = usd.split(".")
  const grouped = whole!.replace(/\B(?=(\d{3})+$)/g, ",")
  return `${negative ? "-" : ""}$${grouped}.${fraction.padEnd(2, "0")}`
}

/** A schema of `Money`, encoded as the exact decimal USD string. */
export const FromUsd: Schema.Codec<Money, string> = Schema.String.pipe(
  Schema.decodeTo(
    Schema.BigInt,
    SchemaTransformation.transformEffect({
      decode: (text: string) =>
        Option.match(fromUsd(text), {
          onNone: () =>
            Effect.fail(new SchemaIssue.InvalidValue({ message: `${text} is not a decimal amount of USD` })),
          onSome: Effect.succeed
        }),
      encode: (amount: Money) => Effect.succeed(toUsd(amount))
    })
  )
)
