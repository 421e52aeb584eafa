/**
 * Exact amounts of money: whole picodollars (10⁻¹² USD) in a `bigint`.
 *
 * One USD per million tokens is 1,000,000 picodollars a token, so every published token price is a whole
 * number of picodollars and a sum of any length has no rounding.
 *
 * **Example** (adding and printing)
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

/** Nothing. */
export const zero: Money = 0n

const DIGITS = 12
const PICO = 10n ** BigInt(DIGITS)

/** The sum of amounts. */
export const sum = (amounts: Iterable<Money>): Money => {
  let total = zero
  for (const amount of amounts) total += amount
  return total
}

/** A price a unit (picodollars) times a whole count of units. */
export const times = (price: Money, count: number): Money => price * BigInt(count)

/**
 * The price of one token, in picodollars, from a price in USD per million tokens.
 *
 * **Gotchas** A price finer than one picodollar a token (10⁻⁶ USD per million) cannot be held and is refused
 * with a `RangeError`, as are negative and non-finite ones.
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

/** Reads a decimal amount of USD, such as `"5"`, `"0.0012"` or `"5usd"`; `None` if it is not one. */
export const fromUsd = (text: string): Option.Option<Money> => {
  const match = /^\s*\$?(-?)(\d+)(?:\.(\d{1,12}))?\s*(?:usd)?\s*$/i.exec(text)
  if (match === null) return Option.none()
  const amount = BigInt(match[2]!) * PICO + BigInt((match[3] ?? "").padEnd(DIGITS, "0"))
  return Option.some(match[1] === "-" ? -amount : amount)
}

/** An amount of USD that somebody else has counted in floating point, to the picodollar; `undefined` for what is none. */
export const fromReported = (usd: number): Money | undefined =>
  Number.isFinite(usd) && usd >= 0 && usd < 1e6 ? BigInt(Math.round(usd * 1e12)) : undefined

/** The exact amount as a decimal number of USD without trailing zeros: `"0.00000012"`. */
export const toUsd = (amount: Money): string => {
  const digits = (amount < 0n ? -amount : amount).toString().padStart(DIGITS + 1, "0")
  const fraction = digits.slice(-DIGITS).replace(/0+$/, "")
  return `${amount < 0n ? "-" : ""}${digits.slice(0, -DIGITS)}${fraction === "" ? "" : `.${fraction}`}`
}

/**
 * For people: at least two decimals, rounded (half up) to cents from 100 USD, to four decimals from 1 USD, and to
 * three significant digits below. Small amounts stay visible: `$0.00000012`.
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
