/** `pipe tune` and what comes of it, from the command line, over a simulator whose cheap model errs on hard rows. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Simulator } from "@pipe/plugins"
import { Deferred, Effect, Fiber } from "effect"
import { cpSync, existsSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { folder, pipe } from "./Pipe.ts"
import { at, envOf, flow, simulated, truthIn } from "./TunedFlow.ts"

let env: { readonly [name: string]: string } = {}
const stopped: Deferred.Deferred<void> = Deferred.makeUnsafe()
let server: Fiber.Fiber<void> | undefined

beforeAll(
  () =>
    new Promise<void>((started) => {
      server = Effect.runFork(
        Effect.scoped(
          Effect.gen(function* () {
            env = envOf(yield* Simulator.start(simulated()))
            started()
            yield* Deferred.await(stopped)
          })
        )
      )
    })
)

afterAll(async () => {
  Deferred.doneUnsafe(stopped, Effect.void)
  if (server !== undefined) await Effect.runPromise(Fiber.await(server))
})

describe("pipe tune", { concurrent: false }, () => {
  it("writes a certified routing that runs and plans keep to, and a check confirms", async () => {
    const cwd = at()
    const before = await pipe(["run", "flow.ts", "--limit", "20"], { cwd, env })
    assert.strictEqual(before.code, 0, before.stderr)
    assert.include(before.stderr, "products.routing.json does not exist yet: pipe tune finds a cheaper routing")

    const tuned = await pipe(
      [
        "tune",
        "flow.ts",
        "--target",
        "0.95",
        "--sample",
        "300",
        "--budget",
        "2usd",
        "--svg",
        "frontier.svg",
        "--html",
        "tuned.html"
      ],
      { cwd, env }
    )
    assert.strictEqual(tuned.code, 0, tuned.stderr)
    assert.match(tuned.stdout, /answer: 300 rows; quality is the share of answers that agree/)
    assert.match(tuned.stdout, /certified: gpt-4o-mini > gpt-4o, judged by the answer +\d/)
    assert.match(
      tuned.stdout,
      /certified on 180 rows: with 95\.0 % confidence, at least 9\d\.\d % of the quality of gpt-4o is kept \(target: 95\.0 %\), for \d\d\.\d % of its cost/
    )
    assert.include(tuned.stdout, "by prompt length, in hindsight")
    assert.include(tuned.stdout, "wrote products.routing.json")
    const routing = JSON.parse(readFileSync(join(cwd, "products.routing.json"), "utf8"))
    assert.deepInclude(routing, { version: 1, flow: "products", models: ["gpt-4o-mini", "gpt-4o"] })
    assert.deepStrictEqual(
      routing.judges.map(({ name }: { readonly name: string }) => name),
      ["logprobs"]
    )
    assert.strictEqual(routing.sample.rows, 300)
    assert.match(routing.tunedAt, /^20\d\d-/)
    assert.isAtLeast(routing.steps.answer.certificate.kept, 0.95)
    assert.match(readFileSync(join(cwd, "frontier.svg"), "utf8"), /^<svg xmlns/)
    const page = readFileSync(join(cwd, "tuned.html"), "utf8")
    assert.include(page, "<svg xmlns")
    assert.include(page, "certified on 180 rows")
    for (const text of [tuned.stdout, tuned.stderr, page, JSON.stringify(routing)]) assert.notInclude(text, "test-key")

    const plan = await pipe(["plan", "flow.ts"], { cwd, env })
    assert.match(plan.stdout, /answer +gpt-4o-mini +0 +\d+ +\d+/)
    assert.include(plan.stdout, "without the cascade")
    const run = await pipe(["run", "flow.ts"], { cwd, env })
    assert.strictEqual(run.code, 0, run.stderr)
    assert.match(
      run.stderr,
      /answer: the strong model was needed for 1\d\d of 600 requests; \d+\.\d % of all answers agree with the strong model's, by \d+ audits \(\d+\.\d % to \d+\.\d %\); 95\.0 % is guaranteed/
    )
    const out = readFileSync(join(cwd, "out.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
    assert.lengthOf(
      out.filter(({ answer, row }) => answer !== truthIn(row.text)),
      0
    )

    const check = await pipe(["tune", "flow.ts", "--check", "--sample", "200"], { cwd, env })
    assert.strictEqual(check.code, 0, check.stderr)
    assert.match(check.stdout, /answer: holds\n {2}on 200 other rows/)
    const json = JSON.parse((await pipe(["tune", "flow.ts", "--check", "--json"], { cwd, env })).stdout)
    assert.strictEqual(json.steps[0].standing, "holds")
  })

  it("certifies nothing from answers that a simulator makes up, and writes nothing then or in a dry run", async () => {
    const cwd = at()
    const simulated = await pipe(["tune", "flow.ts", "--simulate", "--sample", "120"], { cwd })
    assert.strictEqual(simulated.code, 0, simulated.stderr)
    assert.include(simulated.stdout, "not certified: ")
    assert.include(simulated.stdout, "is not written (--simulate")
    const dry = await pipe(["tune", "flow.ts", "--dry-run", "--json"], { cwd, env })
    const found = JSON.parse(dry.stdout)
    assert.isUndefined(found.file)
    assert.isDefined(found.routing.steps.answer.policy)
    assert.isAbove(found.frontier[0].candidates[0].points.length, 1)
    assert.isFalse(existsSync(join(cwd, "products.routing.json")))
  })

  it("ends with exit code 3 when its budget is reached, with what the rows so far are certain of; its run is not resumed", async () => {
    const cwd = at({}, 1_500)
    const tuned = await pipe(["tune", "flow.ts", "--sample", "1000", "--budget", "0.03usd"], { cwd, env })
    assert.strictEqual(tuned.code, 3, tuned.stderr)
    assert.match(tuned.stdout, /the budget was reached after \d+ of 1,000 rows/)
    const resumed = await pipe(["resume"], { cwd, env })
    assert.strictEqual(resumed.code, 2)
    assert.include(resumed.stderr, "was a tuning: tune again with pipe tune")
  })

  it("refuses what cannot be tuned or checked in one line, before anything is paid", async () => {
    const refused = async (args: ReadonlyArray<string>, cwd: string, words: string) => {
      const { code, stderr, stdout } = await pipe(["tune", "flow.ts", ...args], { cwd, env })
      assert.strictEqual(code, 2, stderr + stdout)
      assert.include(stderr, words)
      assert.notInclude(stderr, "    at ")
    }
    const cwd = at()
    await refused(["--target", "1.2"], cwd, "is between 0 and 1")
    await refused(["--sample", "50"], cwd, "takes at least 99")
    await refused(["--check"], cwd, "products.routing.json does not exist: pipe tune creates it")
    await refused([], at({}, 80), "there are only 80 different rows")
    await refused([], at({ cascade: "" }), "has no cascade to tune: add Cascade.layer(")
    await refused([], at({ step: 'model: "gpt-4o"' }), "steps that name a model bypass it")
    await refused(
      ["--check"],
      at({ cascade: 'Cascade.layer({ models: ["gpt-4o-mini", "gpt-4o"] }),' }),
      "its cascade names no file"
    )
    await refused(
      [],
      at({ cascade: 'Cascade.layer({ models: ["nova-x", "gpt-4o"] }),' }),
      "the price of nova-x is unknown, so no routing can be called cheaper: set a price in the flow"
    )
    assert.isFalse(existsSync(join(cwd, ".pipe/pipe.db-journal")))
  })

  it("names a routing file that is broken, of other models or other judges, and where a step has changed uses the strong model", async () => {
    const cwd = at()
    const file = join(cwd, "products.routing.json")
    writeFileSync(file, '{"version": 1')
    const broken = await pipe(["run", "flow.ts"], { cwd, env })
    assert.strictEqual(broken.code, 2, broken.stderr)
    assert.match(
      broken.stderr,
      /products\.routing\.json: is not a routing file .*: tune again with pipe tune, or delete the file/
    )
    // Tuning mends it.
    const tuned = await pipe(["tune", "flow.ts"], { cwd, env })
    assert.strictEqual(tuned.code, 0, tuned.stderr)
    for (const [from, to, words] of [
      ["gpt-4o-mini", "gpt-4.1-nano", "was tuned for gpt-4o-mini, gpt-4o, and the flow has gpt-4.1-nano, gpt-4o"],
      ["judges: [Judge.logprobs()]", "judges: []", "was tuned with the judges logprobs, and the flow has none"]
    ] as const) {
      // A file is loaded once in a process.
      const name = `${from.replace(/\W/g, "")}.ts`
      writeFileSync(join(cwd, name), flow().replace(from, to))
      const { code, stderr } = await pipe(["run", name], { cwd, env })
      assert.strictEqual(code, 2, stderr)
      assert.include(stderr, words)
    }
    // What a small sample does not certify takes no certificate away.
    const kept = readFileSync(file, "utf8")
    const less = await pipe(
      ["tune", "flow.ts", "--target", "0.999", "--delta", "0.5", "--store", "other.db", "--sample", "2000"],
      { cwd, env }
    )
    assert.include(less.stdout + less.stderr, "different rows, and nothing")
    const cut = await pipe(["tune", "flow.ts", "--budget", "0.001usd", "--store", "other.db"], { cwd, env })
    assert.include(cut.stdout, "is left unchanged, because it certifies what this sample does not (answer)")
    assert.strictEqual(readFileSync(file, "utf8"), kept)
    // Another judge of the same name.
    writeFileSync(
      join(cwd, "judge.ts"),
      flow({
        cascade:
          'Cascade.layer({ models: ["gpt-4o-mini", "gpt-4o"], judges: [Judge.make({ name: "logprobs", atLeast: 1, answer: () => Effect.succeed({ logprobs: 1 }) })], routing: new URL("./products.routing.json", import.meta.url) }),'
      })
    )
    const other = await pipe(["run", "judge.ts"], { cwd, env })
    assert.strictEqual(other.code, 2, other.stderr)
    assert.include(other.stderr, "was tuned with another judge logprobs: its code or its options have changed")
    writeFileSync(join(cwd, "changed.ts"), flow({ prompt: "`Another question: ${row.text}`" }))
    const changed = await pipe(["run", "changed.ts", "--limit", "10"], { cwd, env })
    assert.strictEqual(changed.code, 0, changed.stderr)
    assert.include(changed.stderr, "it has changed since it was tuned, so its certificate is not valid")
    assert.notMatch(changed.stderr, /answer +gpt-4o-mini/)
  })

  it("tunes the example of the guide, by labels and a score of the author's", async () => {
    const cwd = folder()
    const examples = resolve(import.meta.dirname, "../../../examples")
    for (const name of ["data", "09-tuned"]) cpSync(join(examples, name), join(cwd, name), { recursive: true })
    symlinkSync(join(examples, "node_modules"), join(cwd, "node_modules"))
    const tuned = await pipe(["tune", "09-tuned/flow.ts", "--sample", "150", "--target", "0.8"], { cwd, env })
    assert.strictEqual(tuned.code, 0, tuned.stderr)
    assert.include(tuned.stdout, "english: 150 rows; quality is the share of answers that match the labels")
    assert.isTrue(existsSync(join(cwd, "09-tuned/flow.routing.json")))
  })
})
