/** Reads what the page asks for, from the parameters of an address. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Export from "./Export.ts"
import * as Problem from "./Problem.ts"
import * as RowTable from "./RowTable.ts"

const Signs = Schema.Literals(["=", "!=", ">=", "<=", "contains", "unknown"])
const Columns = Schema.Literals(RowTable.columns)
const Formats = Schema.Literals(["csv", "jsonl", "parquet"] satisfies ReadonlyArray<Export.Format>)
const Whole = Schema.String.check(Schema.isPattern(/^\d{1,15}$/)).pipe(Schema.decodeTo(Schema.FiniteFromString))

/** The most rows of an answer, and filters of a table. */
const MOST = 500
const MOST_FILTERS = 30

/** A number is compared with a number. */
const isSound = ({ column, is, value }: RowTable.Filter): boolean =>
  !RowTable.isNumber(column)
  || is === "unknown"
  || is === "contains"
  || (value.trim() !== "" && Number.isFinite(Number(value)))

/** A filter: `cost:>=:0.001`. */
const decodeFilter = (text: string): Effect.Effect<RowTable.Filter, Problem.Problem> => {
  const [column, is, ...value] = text.split(":")
  return Effect.mapError(
    Effect.all([Schema.decodeUnknownEffect(Columns)(column), Schema.decodeUnknownEffect(Signs)(is)]),
    () => Problem.badRequest(`the filter ${text.slice(0, 100)} is not known`)
  ).pipe(
    Effect.map(([column, is]): RowTable.Filter => ({ column, is, value: value.join(":") })),
    Effect.filterOrFail(isSound, ({ column, value }) =>
      Problem.badRequest(
        `${column} is compared with a number, not with ${value === "" ? "nothing" : value.slice(0, 50)}`
      )
    )
  )
}

const whole = (params: URLSearchParams, name: string, otherwise: number): Effect.Effect<number, Problem.Problem> => {
  const given = params.get(name)
  return given === null
    ? Effect.succeed(otherwise)
    : Effect.mapError(Schema.decodeUnknownEffect(Whole)(given), () =>
        Problem.badRequest(`${name} is a whole number, not ${given.slice(0, 50)}`)
      )
}

/** A parameter that must be there. */
export const required = (params: URLSearchParams, name: string): Effect.Effect<string, Problem.Problem> => {
  const given = params.get(name)
  return given === null ? Effect.fail(Problem.badRequest(`${name} is missing`)) : Effect.succeed(given)
}

export const number = (params: URLSearchParams, name: string): Effect.Effect<number, Problem.Problem> =>
  Effect.andThen(required(params, name), whole(params, name, 0))

/** The rows of a table. */
export const rows = Effect.fnUntraced(function* (
  params: URLSearchParams
): Effect.fn.Return<RowTable.Query, Problem.Problem> {
  const sort = yield* Effect.mapError(Schema.decodeUnknownEffect(Columns)(params.get("sort") ?? "row"), () =>
    Problem.badRequest("sort is not a column")
  )
  const filters = params.getAll("f")
  if (filters.length > MOST_FILTERS)
    return yield* Problem.badRequest(`${filters.length} filters are too many: ${MOST_FILTERS} are the most`)
  return {
    filters: yield* Effect.forEach(filters, decodeFilter),
    sort,
    isDescending: params.get("order") === "desc",
    from: yield* whole(params, "from", 0),
    count: Math.min(MOST, yield* whole(params, "count", 100))
  }
})

/** The format of an export: CSV where none is named. */
export const format = (params: URLSearchParams): Effect.Effect<Export.Format, Problem.Problem> =>
  Effect.mapError(Schema.decodeUnknownEffect(Formats)(params.get("format") ?? "csv"), () =>
    Problem.badRequest(`format is ${Object.keys(Export.types).join(", ")}`)
  )

/** The columns of an export. */
export const columns = (params: URLSearchParams): ReadonlyArray<RowTable.Column> => {
  const known: ReadonlyArray<RowTable.Column> = RowTable.columns
  const given = params.get("columns")?.split(",") ?? known
  const found = known.filter((column) => given.includes(column))
  return found.length === 0 ? known : found
}

/** A part of the review queue. */
export const review = Effect.fnUntraced(function* (params: URLSearchParams) {
  return {
    order: params.get("order") === "random" ? ("random" as const) : ("doubt" as const),
    step: params.get("step") ?? undefined,
    all: params.get("all") === "1",
    from: yield* whole(params, "from", 0),
    count: Math.min(100, yield* whole(params, "count", 20))
  }
})
