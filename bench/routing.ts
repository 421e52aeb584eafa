/**
 * Measures calibrated routing on recorded answers of two models, which a simulator gives over HTTP: the share of the rows that go to
 * the strong model while 95 % of its quality is kept, and what that costs.
 *
 *     node routing.ts --gsm8k gsm8k.jsonl.gz --mmlu mmlu.jsonl.gz [--target 0.95] [--shuffles 3] [--training 0.4]
 *
 * Rows are `{ prompt, subject?, weak: { answer?, correct }, strong: { answer?, correct } }` (RouteLLM's evaluation data, Apache-2.0). Each set is cut in five: a routing is
 * tuned on four parts and reported on the fifth, for each of them, in several orders at random. Beside it stand what needs no training, with the threshold
 * chosen in hindsight: chance, and the length of prompts. The first fold is run, too, as a user would run it: through a cascade with its routing file.
 */
import * as Cache from "@pipe/core/Cache"
import * as Baselines from "../packages/core/src/routing/tune/Baselines.ts"
import * as CandidateScores from "../packages/core/src/routing/tune/CandidateScores.ts"
import type * as Observation from "../packages/core/src/routing/tune/Observation.ts"
import * as Calibration from "../packages/core/src/routing/tune/Calibration.ts"
import * as Cascade from "@pipe/core/Cascade"
import type * as CascadeHooks from "../packages/core/src/routing/Trials.ts"
import type * as Features from "../packages/core/src/routing/Features.ts"
import * as Flow from "@pipe/core/Flow"
import * as Ledger from "@pipe/core/Ledger"
import * as Money from "@pipe/core/Money"
import type * as Quality from "@pipe/core/Quality"
import * as Retry from "@pipe/core/Retry"
import * as Routing from "../packages/core/src/routing/Routing.ts"
import * as Runner from "@pipe/core/Runner"
import * as Sink from "@pipe/core/Sink"
import * as Source from "@pipe/core/Source"
import * as Stack from "@pipe/core/Stack"
import * as Tune from "../packages/core/src/routing/tune/Tune.ts"
import * as NodeHost from "@pipe/plugins/NodeHost"
import * as OpenAi from "@pipe/plugins/OpenAi"
import * as Simulator from "@pipe/plugins/Simulator"
import { Effect, Layer } from "effect"
import { LanguageModel } from "effect/ai"
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { performance } from "node:perf_hooks"
import { parseArgs } from "node:util"
import { gunzipSync } from "node:zlib"

const { values } = parseArgs({
  options: {
    gsm8k: { type: "string" },
    mmlu: { type: "string" },
    target: { type: "string", default: "0.95" },
    shuffles: { type: "string", default: "3" },
    training: { type: "string", default: "0.4" }
  }
})
const [target, shuffles, trainingShare] = [Number(values.target), Number(values.shuffles), Number(values.training)]

interface Answer {
  readonly answer?: string
  readonly correct: boolean
}

interface Row {
  readonly id: string
  readonly prompt: string
  readonly subject?: string
  readonly weak: Answer
  readonly strong: Answer
}

const WEAK = "mixtral-8x7b-recorded"
const STRONG = "gpt-4-1106-recorded"

/** USD per million tokens, as in RouteLLM. */
const prices = { [WEAK]: { input: 0.6, output: 0.6 }, [STRONG]: { input: 10, output: 30 } }

const load = (file: string): ReadonlyArray<Row> =>
  gunzipSync(readFileSync(file))
    .toString("utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Row)

/** What is said where only right or wrong was recorded: it says who answered and nothing else. */
const saidBy = (model: string, { strong, weak }: Row): string =>
  model === STRONG ? (strong.answer ?? "answer 2") : (weak.answer ?? "answer 1")

/** Numbers at random, the same for a seed (mulberry32, public domain). */
const chance = (seed: number) => () => {
  let t = (seed += 0x6d2b79f5)
  t = Math.imul(t ^ (t >>> 15), t | 1)
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
}

const shuffled = <A>(items: ReadonlyArray<A>, seed: number): ReadonlyArray<A> => {
  const random = chance(seed)
  const all = [...items]
  for (let at = all.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1))
    ;[all[at], all[other]] = [all[other]!, all[at]!]
  }
  return all
}

/** What the text of a question of MMLU shows, beside its subject. */
const questionFacts = ({ prompt, subject = "" }: Row): Features.Features => {
  const text = prompt.replace(/Answer:\s*$/, "")
  const [question = ""] = text.split(/\nA\. /)
  const options = [...text.matchAll(/^[A-D]\. (.*)$/gm)].map(([, option]) => option!)
  return {
    subject,
    "option length": Math.log1p(options.reduce((sum, { length }) => sum + length, 0) / Math.max(1, options.length)),
    digits: /\d/.test(question),
    formula: /[\^\\=]|\$[^\d]/.test(text),
    "which of": /which of (?:the following|these)/i.test(question),
    negated: /\b(?:NOT|EXCEPT|LEAST)\b|\b(?:except|not true|incorrect|false)\b/.test(question),
    statements: /\b(?:II|III)\b/.test(text) && /\bI\b/.test(text),
    blank: question.includes("__"),
    "numbers to choose from":
      options.filter((option) => /^[\s$\-+−(]*[\d.,/]+[\s%\w°)$^]{0,8}$/.test(option)).length
      / Math.max(1, options.length)
  }
}

const numbersIn = (text: string): ReadonlyArray<number> =>
  (text.match(/\d[\d,]*(?:\.\d+)?/g) ?? []).map((number) => Number(number.replaceAll(",", ""))).filter(Number.isFinite)

const numberWords =
  /\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|half|twice|double|triple|quarter|third)\b/gi

/** Sums and products in order of precedence; `undefined` for anything else. */
const valueOf = (expression: string): number | undefined => {
  const text = expression
    .replaceAll(/[,$\s]/g, "")
    .replaceAll("×", "*")
    .replaceAll("÷", "/")
    .replaceAll(/(\d)x(?=\d)/g, "$1*")
    .replaceAll(/(\d+(?:\.\d+)?)%/g, "($1/100)")
  if (!/^[\d.+\-*/()]+$/.test(text) || !/[+\-*/]/.test(text)) return undefined
  let at = 0
  const factor = (): number => {
    if (text[at] === "-") return (at++, -factor())
    if (text[at] === "(") {
      at++
      const inner = sum()
      at++
      return inner
    }
    const [number = ""] = /^\d+(?:\.\d+)?/.exec(text.slice(at)) ?? []
    at += Math.max(1, number.length)
    return number === "" ? Number.NaN : Number(number)
  }
  const product = (): number => {
    let value = factor()
    while (text[at] === "*" || text[at] === "/") value = text[at++] === "*" ? value * factor() : value / factor()
    return value
  }
  function sum(): number {
    let value = product()
    while (text[at] === "+" || text[at] === "-") value = text[at++] === "+" ? value + product() : value - product()
    return value
  }
  const value = sum()
  return at >= text.length && Number.isFinite(value) ? value : undefined
}

/** An equation that is written out. */
interface Equation {
  readonly said: number
  readonly isRight: boolean
  /** Between the marks of a calculator. */
  readonly isMarked: boolean
}

const equation = (left: string, right: string, isMarked: boolean): ReadonlyArray<Equation> => {
  const value = valueOf(left)
  const said = Number(/-?\d[\d,]*(?:\.\d+)?/.exec(right)?.[0].replaceAll(",", ""))
  return value === undefined || !Number.isFinite(said)
    ? []
    : [{ said, isMarked, isRight: Math.abs(value - said) <= 0.011 * Math.max(1, Math.abs(value)) }]
}

/** The equations of a text, marked ones first. */
const equationsIn = (text: string): ReadonlyArray<Equation> => [
  ...[...text.matchAll(/<<([^<>=]+)=([^<>=]+)>>/g)].flatMap(([, left, right]) => equation(left!, right!, true)),
  ...[
    ...text
      .replaceAll(/<<[^>]*>>/g, "")
      .matchAll(
        /((?:[$(]*\d[\d,.]*%?\)?\s*(?:[a-z]+\s*){0,2}[*/+\-×÷x]\s*)+[$(]*\d[\d,.]*%?\)*)\s*(?:[a-z]+\s*){0,2}=\s*\$?(-?\d[\d,]*(?:\.\d+)?)/g
      )
  ].flatMap(([, left, right]) =>
    equation(left!.replaceAll(/(?<![\dx ])[a-z]+|[a-wyz]+/g, "").replaceAll(/[.,](?=\D|$)/g, ""), right!, false)
  )
]

/** What the weak model's own words show of a calculation: whether its arithmetic holds, and whether it used what was given. */
const calculationFacts = (text: string, { prompt }: Row): Features.Features => {
  const equations = equationsIn(text)
  const marked = equations.filter(({ isMarked }) => isMarked)
  const wrong = equations.filter(({ isRight }) => !isRight).length
  const given = numbersIn(prompt)
  const words = prompt.match(numberWords)?.length ?? 0
  const body = text.replaceAll(/<<[^>]*>>/g, "").split("####")[0]!
  const written = new Set(numbersIn(body))
  const known = new Set([...given, ...equations.map(({ said }) => said), 0.5, 1, 2, 4, 7, 10, 12, 24, 60, 100])
  const [, stated] = /####\s*([^\n]*)/.exec(text) ?? []
  const final = stated === undefined ? numbersIn(text).at(-1) : numbersIn(stated)[0]
  const last = equations.at(-1)
  const asks = (pattern: RegExp): boolean => pattern.test(prompt)
  return {
    equations: Math.log1p(equations.length),
    "equations, counted": equations.length,
    "no equation": equations.length === 0,
    "marked equations": marked.length,
    "wrong equations": wrong,
    "one is wrong": wrong > 0,
    "share wrong": wrong / (equations.length + 1),
    "last is wrong": last?.isRight === false,
    "a marked one is wrong": marked.some(({ isRight }) => !isRight),
    "ends with the last":
      final !== undefined && last !== undefined && Math.abs(final - last.said) <= 0.011 * Math.max(1, Math.abs(final)),
    "final is given": final !== undefined && given.includes(final),
    "no final": final === undefined,
    "final is no whole number": final !== undefined && !Number.isInteger(final),
    "final size": Math.log1p(Math.abs(final ?? 0)),
    "final is large": final !== undefined && given.length > 0 && Math.abs(final) > 100 * Math.max(...given),
    "final is 0": final === 0,
    "used of the given": given.length === 0 ? 1 : given.filter((number) => written.has(number)).length / given.length,
    "steps less given": equations.length - given.length - words,
    "numbers from nowhere": [...written].filter((number) => !known.has(number)).length,
    "number words": words,
    given: Math.log1p(given.length),
    marked: stated !== undefined,
    "breaks off": stated === undefined && !/[.!?)]\s*$/.test(text),
    "ends with empty lines": text.endsWith("\n\n"),
    hedges: /assum|approximat|round|cannot|can.t|not possible|not enough/i.test(text),
    turns: /however|but |since/i.test(text),
    unknowns: /\blet'?s\b|denote|equation|variable| x /i.test(text),
    lines: Math.log1p(text.trim().split("\n").length),
    "length beside the question": Math.log((text.length + 20) / prompt.length),
    short: text.length < 120,
    negative: /(?:^|[\s$=])-\s?\d/.test(stated ?? text.slice(-40)),
    sentences: Math.log1p(prompt.match(/[.?!](?:\s|$)/g)?.length ?? 0),
    names: Math.log1p(new Set(prompt.match(/(?<=[a-z,] )[A-Z][a-z]+/g) ?? []).size),
    percents: asks(/%|percent/i),
    half: asks(/half/i),
    multiples: asks(/twice|double|times (?:as|more)/i),
    fractions: asks(/\d\/\d|third|quarter|fifth/i),
    differences: asks(/more than|less than|fewer/i),
    rest: asks(/\bleft\b|remain|rest/i),
    each: asks(/each|every/i),
    ages: asks(/\bage|years old|older/i),
    time: asks(/hour|minute|week|day|month/i),
    average: asks(/average/i),
    rates: asks(/per |rate|speed|mile/i),
    units: asks(/inch|feet|ounce|pound|yard|cent/i)
  }
}

interface Set {
  readonly name: string
  readonly rows: ReadonlyArray<Row>
  readonly features?: (row: Row) => Features.Features
  readonly check?: (text: string, row: Row) => Quality.Verdict
}

/** A flow over some rows of a set; the recorded answers say whether they are right. */
const flowOf = (set: Set, rows: ReadonlyArray<Row>, url: string, folder: string) => {
  const source = Source.fromIterable("row", rows)
  const byPrompt = new Map(rows.map((row) => [row.prompt, row]))
  const answer = Flow.step(
    "answer",
    { row: source },
    ({ row }) => Effect.map(LanguageModel.generateText({ prompt: row.prompt }), (response) => response.text),
    {
      quality: {
        label: ({ row }) => row.prompt,
        score: (text: string, prompt: string) => {
          const row = byPrompt.get(prompt)!
          return text === saidBy(STRONG, row) ? row.strong.correct : row.weak.correct
        },
        ...(set.features === undefined
          ? undefined
          : { features: ({ row }: { readonly row: Row }) => set.features!(row) }),
        ...(set.check === undefined
          ? undefined
          : { check: (text: string, { row }: { readonly row: Row }) => set.check!(text, row) })
      }
    }
  )
  const given: Array<{ readonly row: Row; readonly answer: string }> = []
  return {
    given,
    flow: Flow.make(set.name, {
      outputs: [Sink.forEach("out", { row: source, answer }, (one) => Effect.sync(() => void given.push(one)))],
      prices,
      concurrency: 64,
      stack: Stack.make(
        Ledger.layer,
        Cascade.layer({ models: [WEAK, STRONG], routing: join(folder, `${set.name}.routing.json`), audit: 0 }),
        Cache.layer(),
        Retry.layer(),
        OpenAi.layer({ baseUrl: url, apiKey: "none-needed" })
      )
    })
  }
}

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`

const mean = (all: ReadonlyArray<number>): number => all.reduce((sum, one) => sum + one, 0) / all.length

const spread = (all: ReadonlyArray<number>): number => Math.sqrt(mean(all.map((one) => (one - mean(all)) ** 2)))

/** The least share of strong calls with which the target is kept on some rows, with the threshold chosen on them. */
const byHindsight = (policy: Routing.RoutingPolicy, rows: ReadonlyArray<Observation.Observation>): number => {
  const wanted = target * rows.reduce((sum, { answers }) => sum + answers[1]!.quality, 0)
  const sorted = rows
    .map(({ answers, row }) => {
      const sample = policy.by === "row" ? row : answers[0]!.sample
      return {
        loss: sample === undefined ? Infinity : Routing.loss(policy.rungs[0]!, sample),
        gain: answers[1]!.quality - answers[0]!.quality
      }
    })
    .toSorted((a, b) => b.loss - a.loss)
  let quality = rows.reduce((sum, { answers }) => sum + answers[0]!.quality, 0)
  let taken = 0
  while (quality < wanted - 1e-9 && taken < sorted.length) quality += sorted[taken++]!.gain
  return taken / rows.length
}

const measure = (set: Set) =>
  Effect.gen(function* () {
    const byPrompt = new Map(set.rows.map((row) => [row.prompt, row]))
    // Two rows with one prompt have one recorded answer.
    const rows = [...byPrompt.values()]
    const simulator = yield* Simulator.start({
      answer: ({ model, prompt }) => {
        const row = byPrompt.get(prompt)
        return row === undefined ? undefined : saidBy(model, row)
      }
    })
    const folder = mkdtempSync(join(tmpdir(), "pipe-routing-"))
    const startedAt = performance.now()
    const trials: Array<CascadeHooks.CascadeTrial> = []
    const { flow } = flowOf(set, rows, simulator.openAiUrl, folder)
    yield* Runner.run(flow, { trials: (trial) => void trials.push(trial), outputs: false })
    const pricing = yield* Tune.pricingOf(flow)
    const observations = yield* Tune.observationsOf(
      trials.toSorted((a, b) => a.index - b.index),
      pricing,
      Date.now()
    )
    console.log(
      `\n${set.name}: ${rows.length} rows, both models asked over HTTP in ${((performance.now() - startedAt) / 1_000).toFixed(1)} s`
    )
    const [weak, strong] = [0, 1].map((at) => mean(observations.map(({ answers }) => answers[at]!.quality)))
    console.log(`  right: weak ${percent(weak!)}, strong ${percent(strong!)}; target ${percent(target * strong!)}`)
    const strongCost = Money.sum(observations.map(({ answers }) => answers[1]!.cost))
    for (const { cost, name, strongShare } of Baselines.of(observations, target, ({ features }) =>
      Number(features["prompt length"])
    )) {
      console.log(
        `  by ${name}, in hindsight: ${percent(strongShare)} strong calls, ${percent(Number(cost * BigInt(rows.length)) / Number(strongCost))} of the money`
      )
    }

    const folds: Array<{ share: number; kept: number; money: number; hindsight: number; by: string }> = []
    let refused = 0
    let took = 0
    for (let order = 0; order < shuffles; order++) {
      const all = shuffled(observations, order + 1)
      for (let fold = 0; fold < 5; fold++) {
        const at = performance.now()
        const found = Calibration.make(
          all.filter((_, row) => row % 5 !== fold),
          { target, standard: "label", trainingShare }
        )
        took += performance.now() - at
        const rest = all.filter((_, row) => row % 5 === fold)
        const { policy } = found
        if (policy === undefined) {
          refused++
          continue
        }
        const routed = rest.map((row) => CandidateScores.apply(policy, row))
        folds.push({
          share: mean(routed.map(({ isStrong }) => Number(isStrong))),
          kept: mean(routed.map(({ quality }) => quality)) / mean(rest.map(({ answers }) => answers[1]!.quality)),
          money:
            Number(Money.sum(routed.map(({ cost }) => cost)))
            / Number(Money.sum(rest.map(({ answers }) => answers[1]!.cost))),
          hindsight: byHindsight(policy, rest),
          by: policy.by
        })
      }
    }
    const of = (key: "share" | "kept" | "money" | "hindsight") => folds.map((fold) => fold[key])
    console.log(
      `  certified at δ = 0.05, ${folds.length} of ${folds.length + refused} folds: ${percent(mean(of("share")))} strong calls (± ${percent(spread(of("share")))} between folds), ${percent(
        mean(of("kept"))
      )} of the strong model's quality kept on the rest, at least ${percent(target)} in ${folds.filter(({ kept }) => kept >= target).length}; ${percent(mean(of("money")))} of its money; chosen by ${[...new Set(folds.map(({ by }) => by))].join(" and ")}`
    )
    console.log(
      `  the same scores with the threshold chosen in hindsight: ${percent(mean(of("hindsight")))} strong calls; ${(took / (folds.length + refused) / 1_000).toFixed(1)} s a calibration`
    )
    yield* asUser(set, shuffled(rows, 1), simulator.openAiUrl, folder)
  })

/** The first fold by the tuning and the run that a user has. */
const asUser = (set: Set, rows: ReadonlyArray<Row>, url: string, folder: string) =>
  Effect.gen(function* () {
    const [tuning, rest] = [rows.filter((_, at) => at % 5 !== 0), rows.filter((_, at) => at % 5 === 0)]
    const tuned = yield* Tune.make(flowOf(set, tuning, url, folder).flow, { target, sample: tuning.length })
    writeFileSync(tuned.file!, Routing.encode(tuned.routing))
    const { flow, given } = flowOf(set, rest, url, folder)
    const summary = yield* Runner.run(flow)
    const [routes] = summary.routes ?? []
    const right = given.filter(({ answer, row }) =>
      answer === saidBy(STRONG, row) ? row.strong.correct : row.weak.correct
    ).length
    const strong = rest.filter((row) => row.strong.correct).length
    console.log(
      `  run as a user does, fold 1: ${routes === undefined ? "not certified" : `${percent(routes.strong / routes.requests)} strong calls, ${percent(right / strong)} of the strong model's quality`}; routing saved ${Money.format(
        summary.savings.router
      )} of ${Money.format(summary.baseline)}`
    )
  })

const sets: ReadonlyArray<Set> = [
  ...(values.gsm8k === undefined ? [] : [{ name: "gsm8k", rows: load(values.gsm8k), check: calculationFacts }]),
  ...(values.mmlu === undefined ? [] : [{ name: "mmlu", rows: load(values.mmlu), features: questionFacts }])
]
if (sets.length === 0) throw new Error("--gsm8k and --mmlu name files with recorded answers")
for (const set of sets) {
  await Effect.runPromise(Effect.scoped(measure(set)).pipe(Effect.provide(Layer.fresh(NodeHost.layerMemory))))
}
