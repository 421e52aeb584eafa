/** The work of `pipe prices`. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as PriceChanges from "@pipe/core/PriceChanges"
import * as PriceTable from "@pipe/core/PriceTable"
import * as Pricing from "@pipe/core/Pricing"
import * as PublicTables from "@pipe/core/PublicTables"
import * as SafeText from "@pipe/core/internal/SafeText"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { existsSync, realpathSync, renameSync, writeFileSync } from "node:fs"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as ExitCode from "../../process/ExitCode.ts"
import * as OpenStore from "../../process/OpenStore.ts"
import * as ChangesText from "../../view/ChangesText.ts"
import * as PricesFile from "../../process/PricesFile.ts"
import * as PriceText from "../../view/PriceText.ts"
import * as Fetch from "./Fetch.ts"

/** The prices of the project: its own table, over that of the package. */
const project = Effect.suspend(() => PriceTable.read(PricesFile.path())).pipe(
  Effect.flatMap((table) => Effect.orDie(Pricing.make({}, { table }))),
  Effect.mapError(({ message }) => ExitCode.refuse(message)),
  Effect.provide(NodeFileSystem.layer)
)

/** Shows one price, or all. */
export const show = Effect.fnUntraced(function* ({
  model,
  provider
}: {
  readonly model: Option.Option<string>
  readonly provider: Option.Option<string>
}) {
  const pricing = yield* project
  const at = yield* Clock.currentTimeMillis
  const from = Option.getOrUndefined(provider)
  if (Option.isNone(model)) return yield* Console.log(PriceText.list(pricing.list({ provider: from, at })))
  const price = pricing.lookup({ model: model.value, provider: from, at })
  if (Option.isNone(price)) {
    return yield* new ExitCode.Failure({
      message: `no price is known for ${model.value}${from === undefined ? "" : ` at ${from}`}: its cost in a run would be unknown. ${Pricing.advice(pricing, { at, model: model.value, provider: from })}`,
      exitCode: ExitCode.failed
    })
  }
  yield* Console.log(PriceText.describe(model.value, price.value, at))
})

/** LiteLLM's table, as it is on the day. */
const DEFAULT = "https://raw.githubusercontent.com/BerriAI/litellm/main/model_prices_and_context_window.json"

/** Fetches a table, shows what it changes, and writes it. */
export const update = Effect.fnUntraced(function* (input: {
  readonly url: Option.Option<string>
  readonly accept: ReadonlyArray<string>
  readonly dryRun: boolean
  readonly store: Option.Option<string>
}) {
  const source = Option.getOrUndefined(input.url) ?? (process.env["PIPE_PRICES_URL"]?.trim() || DEFAULT)
  const shown = Fetch.shown(source)
  const { json, modified } = yield* Fetch.json(source)
  const found = PublicTables.read(json)
  if (found === undefined || found.rows.length === 0) {
    return yield* failed(
      `${shown}: it does not have the form of a table of LiteLLM or models.dev${found === undefined ? "" : ": none of its entries has a price of tokens"}. Nothing was written`
    )
  }
  const at = yield* Clock.currentTimeMillis
  // A file that is broken is replaced: what changes is compared with the prices of the package.
  const pricing = yield* Effect.catch(project, () => Effect.orDie(Pricing.make()))
  const table = PriceTable.make({
    name: found.name,
    source: shown,
    date: new Date(Math.min(at, modified?.getTime() ?? at)).toISOString().slice(0, 10),
    rows: found.rows
  })
  const after = yield* Effect.orDie(Pricing.make({}, { table }))
  const changes = PriceChanges.make(pricing, after, table, yield* usedBy(input), at)
  yield* Console.log(ChangesText.render(table, changes, found.problems))
  const accepted = new Set(input.accept)
  const known = new Set([...changes.absurd, ...changes.missing].map(({ model }) => model))
  for (const model of accepted)
    if (!known.has(model)) yield* Effect.logWarning(`--accept ${model}: nothing of this model is refused`)
  const refused = ChangesText.refusals(changes, accepted)
  if (refused !== undefined) return yield* failed(`${refused} Nothing was written`)
  if (input.dryRun) return yield* Console.log("nothing was written: --dry-run")
  const file = PricesFile.path()
  const kept = PriceTable.make({ ...table, rows: [...table.rows, ...keptRows(pricing, changes, accepted, at)] })
  yield* Effect.try({
    try: () => {
      // The file itself where it is a link, and no other process's half of it.
      const place = existsSync(file) ? realpathSync(file) : file
      const own = `${place}.${process.pid}.new`
      writeFileSync(own, PriceTable.encode(kept))
      renameSync(own, place)
    },
    catch: (error) => ExitCode.refuse(`${file} cannot be written: ${SafeText.line(String(error))}`)
  })
  yield* Console.log(
    `wrote ${file}: ${kept.rows.length} models, ${PriceTable.describe(kept)}, hash ${kept.hash.slice(0, 12)}. Runs in its folder and below use it; commit it, so that others do`
  )
})

const failed = (message: string) => new ExitCode.Failure({ message, exitCode: ExitCode.failed })

/** The models that the runs of a store have called. */
const usedBy = Effect.fnUntraced(function* (input: { readonly store: Option.Option<string> }) {
  const stores = Option.isSome(input.store) ? [input.store.value] : StoreFlag.filesOf(input)
  const all = yield* Effect.forEach(
    stores.filter((location) => OpenStore.exists(location)),
    (location) => OpenStore.readable(OpenStore.use(location, (store) => store.ledger.models))
  )
  return [...new Map(all.flat().map((one) => [`${one.provider}/${one.model}`, one])).values()]
})

/** The rows of models that a new table lacks, as the file has them now. */
const keptRows = (
  pricing: Pricing.Service,
  { missing }: PriceChanges.PriceChanges,
  accepted: ReadonlySet<string>,
  at: number
): ReadonlyArray<PriceTable.Row> =>
  missing.flatMap(({ model, provider }) => {
    const price = accepted.has(model) ? pricing.lookup({ model, provider, at }) : Option.none()
    return Option.isSome(price) ? [PriceTable.rowOf(price.value)] : []
  })
