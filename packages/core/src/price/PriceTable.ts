/**
 * A table of prices as data: what `pipe prices update` writes, and what this package adds to the public prices.
 *
 * **Example** (a table in a file)
 *
 * ```ts
 * import { PriceTable } from "@pipe/core"
 *
 * const table = PriceTable.make({
 *   name: "my prices",
 *   source: "https://example.com/prices.json",
 *   date: "2026-11-30",
 *   rows: [{ provider: "openai", model: "my-model", tiers: [{ above: 0, rates: { input: 0.15, output: 0.6 } }] }]
 * })
 * PriceTable.decode(PriceTable.encode(table))._tag // => "Success"
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as ModelName from "../model/ModelName.ts"
import * as RequestKey from "../model/RequestKey.ts"
import * as Price from "./Price.ts"

/** Prices of token classes, in USD per million tokens. */
export const UsdRates = Schema.Struct({
  input: Schema.Finite,
  output: Schema.Finite,
  cacheRead: Schema.optionalKey(Schema.Finite),
  cacheWrite: Schema.optionalKey(Schema.Finite),
  cacheWrite1h: Schema.optionalKey(Schema.Finite),
  inputAudio: Schema.optionalKey(Schema.Finite),
  inputImage: Schema.optionalKey(Schema.Finite),
  reasoning: Schema.optionalKey(Schema.Finite),
  outputAudio: Schema.optionalKey(Schema.Finite),
  outputImage: Schema.optionalKey(Schema.Finite)
})

/** The prices of a context length. */
export const Tier = Schema.Struct({
  /** They apply to requests with more input tokens than this; 0 for the first. */
  above: Schema.Int,
  rates: UsdRates,
  /** Prices of service tiers, such as `batch`, that are not a known share of `rates`. */
  services: Schema.optionalKey(Schema.Record(Schema.String, UsdRates))
})

/** The price of a model. */
export const Row = Schema.Struct({
  /** As price tables name it: `openai`. */
  provider: Schema.String,
  model: Schema.String,
  /** By context length, ascending. */
  tiers: Schema.NonEmptyArray(Tier),
  /** USD per request. */
  perRequest: Schema.optionalKey(Schema.Finite),
  /** USD per web search. */
  perSearch: Schema.optionalKey(Schema.Finite),
  /** Tokens. */
  contextWindow: Schema.optionalKey(Schema.Int)
})

export interface Row extends Schema.Schema.Type<typeof Row> {}

/** A table, with its source and day. */
export const PriceTable = Schema.Struct({
  version: Schema.Literal(1),
  /** For display. */
  name: Schema.String,
  /** Where it is from: an address, or a file. */
  source: Schema.String,
  /** The day of its figures: `2026-11-30`. */
  date: Schema.String.check(Schema.isPattern(/^\d{4}-\d{2}-\d{2}$/)),
  /** The hash of its rows. */
  hash: Schema.String,
  rows: Schema.Array(Row)
})

export interface PriceTable extends Schema.Schema.Type<typeof PriceTable> {}

/** The schema of a table's name. */
export const Named = Schema.Struct({
  name: Schema.String,
  date: Schema.String,
  hash: Schema.optionalKey(Schema.String)
})

/** A table as runs and plans name it. */
export interface Named extends Schema.Schema.Type<typeof Named> {}

/** The name of a table, without its rows. */
export const nameOf = ({ date, name, hash }: Named): Named => ({
  name,
  date,
  ...(hash === undefined ? undefined : { hash })
})

/** The file of a project's own table, in its folder. */
export const FILE = "pipe-prices.json"

/** Reads the table of a file; `undefined` when the file does not exist. */
export const read = Effect.fnUntraced(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const text = yield* fs.readFileString(file).pipe(
    Effect.catchReason("PlatformError", "NotFound", () => Effect.undefined),
    Effect.mapError(({ message }) => new PriceTableError({ message: `${file}: ${message}` }))
  )
  if (text === undefined) return undefined
  return yield* Effect.mapError(
    Effect.fromResult(decode(text)),
    ({ message }) =>
      new PriceTableError({
        message: `${file}: ${message}. Write it again with pipe prices update, or delete it to use the prices of the package`
      })
  )
})

/**
 * A file of prices cannot be used: it is broken, or was changed by hand.
 *
 * **Remedy** Run `pipe prices update` again, or delete the file to use the prices of the package. Prices of your own are
 * set in the flow: `prices: { "my-model": { input: 0.15, output: 0.6 } }`.
 */
export class PriceTableError extends Schema.TaggedError<PriceTableError>()("PriceTableError", {
  message: Schema.String
}) {}

const hashOf = (rows: ReadonlyArray<Row>): string => ContentHash.make(RequestKey.canonical(rows))

/** Makes a table, with the hash of its rows. */
export const make = (
  options: Pick<PriceTable, "name" | "source" | "date"> & { readonly rows: ReadonlyArray<Row> }
): PriceTable => {
  const rows = options.rows.toSorted((a, b) => (`${a.provider}/${a.model}` < `${b.provider}/${b.model}` ? -1 : 1))
  return { version: 1, ...options, hash: hashOf(rows), rows }
}

/** Encodes a table as JSON, a model a line: changes of prices are changes of lines. */
export const encode = ({ rows, ...head }: PriceTable): string => {
  const lines = rows.map((row) => `    ${JSON.stringify(row)}`)
  return `${JSON.stringify(head, undefined, 2).slice(0, -2)},\n  "rows": [\n${lines.join(",\n")}\n  ]\n}\n`
}

const decodeJson = Schema.decodeUnknownExit(Schema.fromJsonString(PriceTable))

/** Decodes a table, and checks its hash. */
export const decode = (text: string): Result.Result<PriceTable, PriceTableError> => {
  const exit = decodeJson(text)
  if (exit._tag === "Failure") return Result.fail(new PriceTableError({ message: "it is not a table of prices" }))
  const table = exit.value
  if (hashOf(table.rows) !== table.hash)
    return Result.fail(new PriceTableError({ message: "its rows are not those that were written: its hash differs" }))
  for (const row of table.rows) {
    const problem = problemOf(row)
    if (problem !== undefined) return Result.fail(new PriceTableError({ message: `${row.model}: ${problem}` }))
  }
  return Result.succeed(table)
}

/** The price of a row. Throws a `RangeError` for a figure that cannot be one. */
export const toPrice = (row: Row, source: string): Price.Price => {
  const tiers = row.tiers.map(({ above, rates, services }) => Price.tierFromUsd(above, rates, services))
  return {
    provider: row.provider,
    model: row.model,
    source,
    tiers: tiers as unknown as Price.Price["tiers"],
    ...Price.feesFromUsd(row),
    ...(row.contextWindow === undefined ? undefined : { contextWindow: row.contextWindow })
  }
}

const rateNames = Object.keys(UsdRates.fields) as ReadonlyArray<keyof Price.UsdRates>

const toUsd = (rates: Price.Rates): Price.UsdRates => {
  const own = rateNames.flatMap((name) => {
    const rate = rates[name]
    return rate === undefined ? [] : [[name, Number(rate) / Number(rates.per ?? 1n) / 1e6] as const]
  })
  return Object.fromEntries(own) as unknown as Price.UsdRates
}

/** The row of a price. */
export const rowOf = ({ contextWindow, fees, model, provider, tiers }: Price.Price): Row => ({
  provider,
  model,
  tiers: tiers.map(({ above, rates, services }) => ({
    above,
    rates: toUsd(rates),
    ...(services === undefined
      ? undefined
      : { services: Object.fromEntries(Object.entries(services).map(([name, own]) => [name, toUsd(own)])) })
  })) as unknown as Row["tiers"],
  ...(fees?.request === undefined ? undefined : { perRequest: Number(fees.request) / 1e12 }),
  ...(fees?.search === undefined ? undefined : { perSearch: Number(fees.search) / 1e12 }),
  ...(contextWindow === undefined ? undefined : { contextWindow })
})

/** No model has a smaller one: embedding models begin at 512. */
const LEAST_WINDOW = 256

/** What is wrong with a row, in words; `undefined` when nothing is. */
export const problemOf = (row: Row): string | undefined => {
  try {
    toPrice(row, "")
  } catch (error) {
    if (error instanceof RangeError) return error.message
    throw error
  }
  if (row.contextWindow !== undefined && row.contextWindow < LEAST_WINDOW)
    return `a context window of ${row.contextWindow} tokens is not plausible`
  const [first, ...others] = row.tiers
  return first.above !== 0 || others.some(({ above }, at) => above <= row.tiers[at]!.above)
    ? "its tiers are not in ascending order from 0"
    : undefined
}

/** Finds the row of a model, or of the model that it is a dated version of. */
export const index = ({ rows }: Pick<PriceTable, "rows">): ((provider: string, model: string) => Row | undefined) => {
  const providers = new Map<string, Map<string, Row>>()
  for (const row of rows) {
    const own = providers.get(row.provider) ?? new Map<string, Row>()
    providers.set(row.provider, own)
    own.set(row.model, row)
  }
  return (provider, model) => {
    const own = providers.get(provider)
    if (own === undefined) return undefined
    const exact = own.get(model) ?? own.get(ModelName.withoutPrefix(model))
    if (exact !== undefined) return exact
    const base = ModelName.baseOf(ModelName.withoutPrefix(model))
    return base === undefined ? undefined : own.get(base)
  }
}

/** How a table is named: `LiteLLM of 2026-11-30`. */
export const describe = ({ date, name }: Named): string => `${name} of ${date}`

/** Days after which a table is called old. */
export const OLD = 60

const DAY = 86_400_000

/** The age of a table in days. */
export const ageOf = ({ date }: Named, at: number): number => Math.floor((at - Date.parse(`${date}T00:00:00Z`)) / DAY)
