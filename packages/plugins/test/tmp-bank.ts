import * as Embedder from "@pipe/core/Embedder"
import * as ReuseEval from "@pipe/core/ReuseEval"
import * as LocalEmbedder from "@pipe/plugins/LocalEmbedder"
import * as Usearch from "@pipe/plugins/Usearch"
import { Effect, Layer } from "effect"
import { parse } from "node:path"
import fs from "node:fs"
const csv =
  fs.readFileSync("/work/shared/data/banking77/train.csv", "utf8")
  + "\n"
  + fs.readFileSync("/work/shared/data/banking77/test.csv", "utf8").split("\n").slice(1).join("\n")
import { Csv } from "effect/encoding"
import { Stream } from "effect"
const records = await Effect.runPromise(
  Stream.runCollect(Stream.make(csv).pipe(Stream.pipeThroughChannel(Csv.decodeString())))
)
const [header, ...cells] = Array.from(records)
const t = header!.indexOf("text"),
  a = header!.indexOf("category")
const rows = cells.filter((r) => r.length === header!.length).map((r) => ({ text: r[t]!, answer: r[a]! }))
const texts = [...new Set(rows.map((r) => r.text))]
const file = "/tmp/bank.vec"
let dims = 512
if (!fs.existsSync(file))
  await Effect.runPromise(
    Effect.gen(function* () {
      const e = yield* Embedder.Embedder
      const v = yield* Effect.forEach(
        texts,
        (x) => (e.unfit(x) === undefined ? e.embed(x) : Effect.succeed(new Float32Array(512))),
        { concurrency: 64 }
      )
      const all = new Float32Array(v.length * v[0]!.length)
      v.forEach((x, i) => all.set(x, i * x.length))
      fs.writeFileSync(file, Buffer.from(all.buffer))
    }).pipe(Effect.provide(LocalEmbedder.layer)) as any
  )
const buf = fs.readFileSync(file)
const all = new Float32Array(buf.buffer, buf.byteOffset, buf.byteLength / 4)
dims = all.length / texts.length
const at = new Map(texts.map((x, i) => [x, i]))
const fake = Layer.effect(
  Embedder.Embedder,
  Effect.map(Embedder.Embedder, (e: any) => ({
    ...e,
    embed: (x: string) => Effect.succeed(all.slice(at.get(x)! * dims, at.get(x)! * dims + dims))
  }))
).pipe(Layer.provide(LocalEmbedder.layer))
const s = Date.now()
await Effect.runPromise(
  Effect.gen(function* () {
    const { outcomes } = yield* ReuseEval.rows(rows, {
      maxErrorRates: [0.02, 0.05],
      shuffles: Number(process.argv[2] ?? 5)
    })
    for (const { maxErrorRate, trials } of outcomes) {
      const total = ReuseEval.total(trials),
        r = trials.map(ReuseEval.reuseOf),
        e = trials.map(ReuseEval.errorOf)
      console.log(
        maxErrorRate,
        "reused",
        (ReuseEval.reuseOf(total) * 100).toFixed(1),
        Math.min(...r).toFixed(3),
        Math.max(...r).toFixed(3),
        "wrong",
        (ReuseEval.errorOf(total) * 100).toFixed(2),
        Math.max(...e).toFixed(4)
      )
    }
  }).pipe(Effect.provide([fake, Usearch.layer])) as any
)
console.log((Date.now() - s) / 1000, "s", rows.length)
