/** Implements `pipe doctor`. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as PriceTable from "@pipe/core/PriceTable"
import * as Store from "@pipe/core/Store"
import * as Format from "@pipe/core/internal/Format"
import * as Peer from "@pipe/plugins/Peer"
import * as NodeHost from "@pipe/plugins/NodeHost"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import { accessSync, constants, existsSync, readFileSync, statSync } from "node:fs"
import { statfs } from "node:fs/promises"
import { createRequire } from "node:module"
import { dirname, join, resolve } from "node:path"
import { version } from "../../Version.ts"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as ExitCode from "../../process/ExitCode.ts"
import * as PricesFile from "../../process/PricesFile.ts"
import * as OpenStore from "../../process/OpenStore.ts"
import { type Check, ok, warning, wrong } from "./Check.ts"
import * as Providers from "./Providers.ts"

const marks: { readonly [S in Check["status"]]: string } = { ok: "✓", warning: "!", wrong: "✗" }

/** Runs all checks and prints their results. */
export const examine = (input: {
  readonly flow: Option.Option<string>
  readonly offline: boolean
  readonly json: boolean
  readonly store: Option.Option<string>
}) =>
  Effect.gen(function* () {
    const location = StoreFlag.resolve(input)
    const checks = [
      ...versions(),
      moduleType(),
      ...peers(),
      yield* storeOf(location),
      ...(NodeHost.isPostgres(location) ? [] : [yield* diskOf(location)]),
      yield* reuse,
      yield* prices,
      ...(yield* Providers.check(input))
    ]
    for (const check of checks) {
      yield* Console.log(
        input.json ? JSON.stringify(check) : `${marks[check.status]} ${check.name.padEnd(10)} ${check.message}`
      )
    }
    if (checks.some(({ status }) => status === "wrong")) {
      return yield* new ExitCode.Failure({
        message: input.json ? "" : "something is wrong: see the lines with ✗",
        exitCode: ExitCode.failed
      })
    }
  })

/** The project's own table of prices. */
const prices = Effect.suspend(() => {
  const file = PricesFile.path()
  return PriceTable.read(file).pipe(
    Effect.map((table) =>
      table === undefined
        ? ok("prices", `those of the package; pipe prices update pins newer ones in ${PriceTable.FILE}`)
        : ok("prices", `${file}: ${PriceTable.describe(table)}, ${Format.of(table.rows.length, "model")}`)
    ),
    Effect.catch(({ message }) => Effect.succeed(wrong("prices", message))),
    Effect.provide(NodeFileSystem.layer)
  )
})

const LEAST_NODE = [22, 19] as const

const versions = (): ReadonlyArray<Check> => {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
  const fits = major > LEAST_NODE[0] || (major === LEAST_NODE[0] && minor >= LEAST_NODE[1])
  return [
    ok("pipe", `${version}, Effect ${packageVersion("effect") ?? "unknown"}`),
    fits
      ? ok("Node.js", process.versions.node)
      : wrong("Node.js", `${process.versions.node} is older than ${LEAST_NODE.join(".")}: install a newer one`)
  ]
}

/** The version of a package as the plugins find it. Many packages export no `package.json`, so its file is read. */
const packageVersion = (name: string): string | undefined => {
  for (const folder of createRequire(import.meta.resolve("@pipe/plugins")).resolve.paths(name) ?? []) {
    try {
      const text = readFileSync(join(folder, name, "package.json"), "utf8")
      return (JSON.parse(text) as { readonly version?: string }).version
    } catch {
      // It is not in this folder.
    }
  }
  return undefined
}

/** Whether files of this project are modules. pipe loads a flow either way; Node alone does not. */
const moduleType = (): Check => {
  const file = above(process.cwd(), "package.json")
  if (file === undefined) return ok("project", "no package.json: flows use the packages of the command")
  try {
    const { type } = JSON.parse(readFileSync(file, "utf8")) as { readonly type?: string }
    return type === "module"
      ? ok("project", `${file}: modules`)
      : warning(
          "project",
          `${file} ${type === undefined ? "has no" : `says "type": "${type}", not`} "type": "module": pipe runs flows anyway, but Node alone (node --test) does not`
        )
  } catch (error) {
    return wrong("project", `${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`)
  }
}

const above = (folder: string, name: string): string | undefined =>
  existsSync(join(folder, name))
    ? join(folder, name)
    : dirname(folder) === folder
      ? undefined
      : above(dirname(folder), name)

/** Optional packages. */
const PEERS: ReadonlyArray<readonly [name: string, what: string]> = [
  ["openai", "OpenAI by its SDK: batches, streams"],
  ["@anthropic-ai/sdk", "Anthropic"],
  ["@effect/sql-pg", "a store on Postgres"],
  ["redis", "a cache on Redis"],
  ["usearch", "an index for reuse by meaning"],
  ["@energetic-ai/embeddings", "vectors on this machine"]
]

const peers = (): ReadonlyArray<Check> =>
  PEERS.map(([name, what]) => {
    const version = packageVersion(name)
    const range = Peer.rangeOf(name)
    return version === undefined
      ? ok("packages", `${name} is not installed (${what}): ${Peer.install(name)}`)
      : range === undefined || isWithin(version, range)
        ? ok("packages", `${name} ${version}`)
        : warning("packages", `${name} ${version} is not ${range}, which is known to work: ${Peer.install(name)}`)
  })

/** Tests whether a version is in a range, by major versions. */
const isWithin = (version: string, range: string): boolean => {
  const major = Number.parseInt(version, 10)
  const [least = 0, below] = [...range.matchAll(/(\d+)\.\d+\.\d+/g)].map(([, first]) => Number(first))
  return major >= least && (below === undefined ? major === least : major < below)
}

const storeOf = (location: string): Effect.Effect<Check> => {
  if (!OpenStore.exists(location)) {
    const folder = nearest(dirname(resolve(location)))
    return Effect.sync(() => {
      try {
        accessSync(folder, constants.W_OK)
        return ok("store", `${location} does not exist yet: the first run creates it`)
      } catch {
        return wrong("store", `${location} cannot be made: ${folder} cannot be written`)
      }
    })
  }
  return Effect.scoped(
    Effect.gen(function* () {
      const context = yield* Layer.build(NodeHost.existingStore(location))
      return yield* Effect.provideContext(
        Effect.gen(function* () {
          const store = yield* Store.Store
          const stats = yield* store.cache.stats
          const runs = yield* store.runs.list(1_000)
          const live = runs.filter((run) => run.status === "running").length
          if (!NodeHost.isPostgres(location)) accessSync(location, constants.W_OK)
          return ok(
            "store",
            `${store.name}: ${Format.of(runs.length, "run")}${live === 0 ? "" : ` (${live} active)`}, ${Format.of(stats.entries, "answer")}, ${Format.of(stats.results, "result")}`
          )
        }),
        context
      )
    })
  ).pipe(
    Effect.catchCause((cause) => {
      const error = cause.reasons.map((reason) =>
        "error" in reason ? reason.error : "defect" in reason ? reason.defect : undefined
      )[0]
      return Effect.succeed(wrong("store", error === undefined ? `${location} cannot be used` : Store.messageOf(error)))
    })
  )
}

/** Whether answers can be reused by meaning with the installed packages. It is optional. */
const reuse: Effect.Effect<Check> = Effect.scoped(
  Effect.gen(function* () {
    const [LocalEmbedder, Usearch, VectorIndex] = yield* Effect.promise(() =>
      Promise.all([
        import("@pipe/plugins/LocalEmbedder"),
        import("@pipe/plugins/Usearch"),
        import("@pipe/core/VectorIndex")
      ])
    )
    const model = yield* LocalEmbedder.make
    const { vector } = yield* model.embed("Is this text turned into a vector?")
    const indexes = Effect.flatMap(VectorIndex.VectorIndex, (indexes) =>
      indexes.open({ name: "doctor", dimensions: vector.length, folder: undefined })
    )
    const index = yield* Effect.result(Effect.provide(indexes, Usearch.layer))
    return ok(
      "reuse",
      `vectors of ${vector.length} numbers by ${LocalEmbedder.NAME}; ${index._tag === "Success" ? "index by usearch" : `without an index: ${index.failure.message}`}`
    )
  })
).pipe(Effect.catch((error) => Effect.succeed(ok("reuse", `no vectors on this machine: ${error.message}`))))

/** The nearest existing parent folder. */
const nearest = (folder: string): string =>
  existsSync(folder) || dirname(folder) === folder ? folder : nearest(dirname(folder))

/** Less disk space is too little for a large run. */
const LEAST_DISK = 1e9

const diskOf = (location: string): Effect.Effect<Check> =>
  Effect.promise(async () => {
    const { bavail, bsize } = await statfs(nearest(dirname(resolve(location))))
    const free = bavail * bsize
    const size = existsSync(location) ? statSync(location).size : 0
    const text = `${Format.bytes(free)} free${size === 0 ? "" : `, the store has ${Format.bytes(size)}`}`
    return free < LEAST_DISK ? warning("disk", `${text}: a run of a million rows takes about 1 GB`) : ok("disk", text)
  })
