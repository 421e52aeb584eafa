/**
 * Measures reuse by meaning: the vector index among many vectors beside comparing with every one, and, on labelled texts,
 * what is reused within an error rate.
 *
 *     node reuse.ts --file labelled.csv [--text text --answer category] [--vectors 100000] [--queries 1000] [--shuffles 20, 0 for the index alone]
 *
 * There are rarely this many texts at hand: beyond those of the file, vectors are means of two of them, chosen by a seed.
 */
import * as Embedder from "@pipe/core/Embedder"
import * as ReuseEval from "../packages/core/src/semantic/ReuseEval.ts"
import * as VectorIndex from "@pipe/core/VectorIndex"
import * as LocalEmbedder from "@pipe/plugins/LocalEmbedder"
import * as Usearch from "@pipe/plugins/Usearch"
import { Effect, Stream } from "effect"
import { Csv } from "effect/encoding"
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { performance } from "node:perf_hooks"
import { parseArgs } from "node:util"

const { values } = parseArgs({
  options: {
    file: { type: "string" },
    text: { type: "string", default: "text" },
    answer: { type: "string", default: "category" },
    vectors: { type: "string", default: "100000" },
    queries: { type: "string", default: "1000" },
    shuffles: { type: "string", default: "20" }
  }
})
if (values.file === undefined) throw new Error("--file names a CSV file with texts and their answers")
const [size, queries, shuffles] = [Number(values.vectors), Number(values.queries), Number(values.shuffles)]

/** A number from 0 to 1 that depends on the seed alone (mulberry32, public domain). */
const random = (seed: number) => () => {
  let t = (seed += 0x6d2b79f5)
  t = Math.imul(t ^ (t >>> 15), t | 1)
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
}

const percentile = (sorted: ReadonlyArray<number>, share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!

const records = await Effect.runPromise(
  Stream.runCollect(Stream.make(readFileSync(values.file, "utf8")).pipe(Stream.pipeThroughChannel(Csv.decodeString())))
)
const [header, ...cells] = Array.from(records)
const [textAt, answerAt] = [header!.indexOf(values.text), header!.indexOf(values.answer)]
const rows = cells
  .filter((row) => row.length === header!.length)
  .map((row): ReuseEval.EvalRow => ({ text: row[textAt]!, answer: row[answerAt]! }))

const lookups = Effect.gen(function* () {
  const embedder = yield* Embedder.Embedder
  const texts = [...new Set(rows.map(({ text }) => text))].filter((text) => embedder.unfit(text) === undefined)
  const startedAt = performance.now()
  const real = yield* Effect.forEach(texts.slice(0, size), (text) => embedder.embed(text), { concurrency: 64 })
  console.log(`${real.length} texts embedded: ${((performance.now() - startedAt) / real.length).toFixed(2)} ms a text`)
  const next = random(7)
  const pick = () => real[Math.floor(next() * real.length)]!
  const mean = (a: Float32Array, b: Float32Array, share: number) =>
    Embedder.unit(Array.from(a, (x, i) => x * share + b[i]! * (1 - share)))
  const vectors = [...real]
  while (vectors.length < size) vectors.push(mean(pick(), pick(), 0.5))
  const asked = Array.from({ length: queries }, () => mean(pick(), pick(), 0.7))
  const folder = mkdtempSync(join(tmpdir(), "pipe-vectors-"))
  yield* Effect.scoped(
    Effect.gen(function* () {
      const before = process.memoryUsage().rss
      const index = yield* (yield* VectorIndex.VectorIndex).open({ name: "bench", dimensions: real[0]!.length, folder })
      const exact = VectorIndex.exact(real[0]!.length)
      const buildAt = performance.now()
      for (let at = 0; at < vectors.length; at += 500) {
        yield* index.add(vectors.slice(at, at + 500).map((vector, offset) => ({ id: at + offset + 1, vector })))
      }
      const built = performance.now() - buildAt
      const memory = process.memoryUsage().rss - before
      yield* exact.add(vectors.map((vector, at) => ({ id: at + 1, vector })))
      const timed = (index: VectorIndex.Index) =>
        Effect.gen(function* () {
          const times: Array<number> = []
          const found: Array<ReadonlyArray<VectorIndex.Near>> = []
          for (const query of asked) {
            const at = performance.now()
            found.push(yield* index.search(query, 12))
            times.push(performance.now() - at)
          }
          return { times: times.sort((a, b) => a - b), found }
        })
      const { found, times } = yield* timed(index)
      const { found: truth, times: exactTimes } = yield* timed(exact)
      let first = 0
      let twelve = 0
      found.forEach((near, at) => {
        const ids = new Set(truth[at]!.map(({ id }) => id))
        if (near[0]?.id === truth[at]![0]!.id) first++
        twelve += near.filter(({ id }) => ids.has(id)).length
      })
      console.log(
        [
          `${vectors.length} vectors of ${real[0]!.length}`,
          `  usearch   p50 ${percentile(times, 0.5).toFixed(2)} ms, p99 ${percentile(times, 0.99).toFixed(2)} ms; nearest found ${((first / queries) * 100).toFixed(1)} %, of the nearest twelve ${((twelve / queries / 12) * 100).toFixed(1)} %`,
          `  every one p50 ${percentile(exactTimes, 0.5).toFixed(2)} ms, p99 ${percentile(exactTimes, 0.99).toFixed(2)} ms`,
          `  built in ${(built / 1_000).toFixed(1)} s (${(built / vectors.length).toFixed(2)} ms a vector), ${Math.round(memory / 2 ** 20)} MB`
        ].join("\n")
      )
    })
  )
  const [file] = readdirSync(join(folder, "vectors")).filter((name) => name.endsWith(".usearch"))
  console.log(`  file of ${Math.round(statSync(join(folder, "vectors", file!)).size / 2 ** 20)} MB`)
  rmSync(folder, { recursive: true })
})

const bounds = Effect.gen(function* () {
  const { outcomes, thresholds } = yield* ReuseEval.rows(rows, { maxErrorRates: [0.02, 0.05], shuffles })
  for (const { maxErrorRate, trials } of outcomes) {
    const all = ReuseEval.total(trials)
    const errors = trials.map(ReuseEval.errorOf)
    const reuses = trials.map(ReuseEval.reuseOf)
    const best = ReuseEval.bestThreshold(thresholds, maxErrorRate)
    console.log(
      `maxErrorRate ${maxErrorRate}: ${(ReuseEval.reuseOf(all) * 100).toFixed(1)} % reused (${(Math.min(...reuses) * 100).toFixed(1)} to ${(Math.max(...reuses) * 100).toFixed(1)}), ${(
        ReuseEval.errorOf(all) * 100
      ).toFixed(
        2
      )} % of them wrong (at most ${(Math.max(...errors) * 100).toFixed(2)}), over the bound in ${errors.filter((error) => error > maxErrorRate).length} of ${trials.length} orders; best threshold in hindsight ${
        best === undefined ? "none" : `${(ReuseEval.reuseOf(best) * 100).toFixed(1)} %`
      }`
    )
  }
})

await Effect.runPromise(
  (shuffles === 0 ? lookups : Effect.andThen(lookups, bounds)).pipe(
    Effect.provide([LocalEmbedder.layer, Usearch.layer])
  )
)
