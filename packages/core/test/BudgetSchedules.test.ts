/**
 * Budgets under random schedules: whatever calls cost, however they end, and whenever the process dies, the provider bills no
 * more than the cap, and the ledger has no less than the bill.
 */
import { assert, describe, it } from "@effect/vitest"
import {
  RunHooks,
  CallContext,
  Budget,
  Cascade,
  Fallback,
  Hedge,
  Ledger,
  ModelClient,
  ModelRequest,
  Money,
  Pricing,
  Quality,
  Retry,
  Stack
} from "@pipe/core"
import { Effect, Exit, Fiber, Layer, Option } from "effect"
import { AiError } from "effect/ai"
import { TestClock } from "effect/testing"
import * as Soak from "../../../test/Soak.ts"
import * as Host from "./Host.ts"
import * as Scripted from "./ScriptedModel.ts"

/** Numbers from 0 to 1 that depend on the seed alone (mulberry32, public domain). */
const chance = (seed: number) => () => {
  let t = (seed += 0x6d2b79f5)
  t = Math.imul(t ^ (t >>> 15), t | 1)
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
}

// USD per million tokens: one that is requested, and one that stands behind it, or answers in its place, at ten times the price.
const SMALL = "gpt-4o-mini"
const LARGE = "gpt-4o"
const prices = { [SMALL]: { input: 1, output: 4 }, [LARGE]: { input: 10, output: 40 } }

/** The most tokens of an image (platform.openai.com/docs/guides/images-vision, 2026-11-28: a base and eight tiles). */
const IMAGE: { readonly [model: string]: number } = { [SMALL]: 2_833 + 8 * 5_667, [LARGE]: 85 + 8 * 170 }

/** What stands between the rows and the provider, or what the rows ask for. */
const kinds = ["plain", "plain", "plain", "fallback", "hedge", "cascade", "objects", "images", "samples"] as const

type Outcome = "answer" | "no usage" | "429" | "5xx billed" | "5xx" | "never" | "broken"

interface Schedule {
  readonly kind: (typeof kinds)[number]
  readonly cap: Money.Money
  readonly rows: number
  readonly concurrency: number
  readonly attempts: number
  readonly timeout: number
  readonly maxTokens: number | undefined
  /** Another model answers than the one that was requested, at its price. */
  readonly isDearer: boolean
  readonly kills: number
  readonly prompt: (row: number) => string
  readonly outcome: () => Outcome
  /** The share of a text's bytes that are tokens. */
  readonly density: () => number
  readonly length: () => number
  readonly latency: () => number
  /** Whether something that is likely to happen so often does. */
  readonly happens: (share: number) => boolean
}

const scheduleOf = (seed: number): Schedule => {
  const next = chance(seed)
  const between = (low: number, high: number) => low + Math.floor(next() * (high - low + 1))
  const pick = <A>(...all: ReadonlyArray<A>): A => all[Math.floor(next() * all.length)]!
  const script = pick("word ", "číslo ", "数字", "🂡🂢", "1234 ")
  const faults = next() < 0.3 ? 0 : next() * 0.3
  const long = next() < 0.5 ? 0 : next() * 0.1
  const kind = pick(...kinds)
  // So that a single call is a small part of it.
  const scale = kind === "images" ? 40 : kind === "fallback" || kind === "cascade" ? 4 : 1
  return {
    kind,
    cap: Money.times(Money.perMillionTokens(1), scale * between(40_000, 400_000)),
    rows: between(50, 300),
    concurrency: pick(16, 64, 256, 512),
    attempts: pick(1, 2, 3),
    timeout: pick(200, 600, 60_000),
    maxTokens: next() < 0.4 ? between(20, 600) : undefined,
    isDearer: next() < 0.15,
    kills: next() < 0.4 ? between(1, 3) : 0,
    prompt: (row) => `${row} ${script.repeat(between(1, 40))}`,
    outcome: () => (next() < faults ? pick("no usage", "429", "5xx billed", "5xx", "never", "broken") : "answer"),
    density: () => 0.05 + next() * 0.95,
    length: () => (next() < long ? between(1_000, 8_000) : between(1, 60)),
    latency: () => between(1, 400),
    happens: (share) => next() < share
  }
}

const failure = (reason: AiError.AiErrorReason) => AiError.make({ module: "test", method: "send", reason })

/** A provider that works, bills and answers by the schedule; what it has billed. */
const providerOf = (schedule: Schedule) => {
  let billed = Money.zero
  // That a dearer model answers is known from its first answer, and not before.
  const answered = new Set<string>()
  const send = (request: ModelRequest.Completion) =>
    Effect.suspend(() => {
      const requested = request.model!
      const hasAnswered = !schedule.isDearer || answered.has(requested)
      const drawn = schedule.outcome()
      const outcome = hasAnswered ? drawn : "answer"
      const bytes = new TextEncoder().encode(Scripted.prompt(request)).length
      const images = request.messages.flatMap(({ content }) =>
        typeof content === "string" ? [] : [...content].filter((part) => part.type === "file")
      ).length
      const input = Math.ceil((bytes + images * IMAGE[requested]!) * schedule.density()) + 7
      const wanted = schedule.length()
      const output = Math.min(wanted, request.settings.maxTokens ?? Number.POSITIVE_INFINITY)
      const model = schedule.isDearer ? LARGE : requested
      const usd = prices[model as keyof typeof prices]
      const work = () => {
        billed +=
          Money.times(Money.perMillionTokens(usd.input), input)
          + Money.times(Money.perMillionTokens(usd.output), output)
      }
      const response = Scripted.response("w".repeat(output), {
        model,
        requestedModel: requested,
        finishReason: output < wanted ? "length" : "stop",
        usage: { uncachedInput: input, cacheRead: 0, cacheWrite: 0, cacheWrite1h: 0, output, reasoning: 0 }
      })
      switch (outcome) {
        case "429":
          return Effect.fail(failure(new AiError.RateLimitError({})))
        case "5xx":
          return Effect.fail(failure(new AiError.InternalProviderError({ description: "down" })))
        case "5xx billed":
          work()
          return Effect.fail(failure(new AiError.InternalProviderError({ description: "down" })))
        case "broken":
          work()
          return Effect.fail(failure(new AiError.InvalidResponseError({ description: "broken JSON" })))
        case "never":
          work()
          return Effect.never
        case "no usage": {
          const { usage: _, ...without } = response
          work()
          return Effect.as(Effect.sleep(schedule.latency()), without)
        }
        case "answer":
          work()
          return Effect.map(Effect.sleep(hasAnswered ? schedule.latency() : 1), () => {
            answered.add(requested)
            return response
          })
      }
    })
  return {
    billed: () => billed,
    layer: Layer.sync(ModelClient.ModelClient, () =>
      ModelClient.provider({
        name: "openai",
        send: send as ModelClient.Send,
        resolve: (request) => ({ ...request, model: request.model ?? SMALL })
      })
    )
  }
}

/** The layers of a schedule over its provider. */
const stackOf = (schedule: Schedule, provider: Layer.Layer<ModelClient.ModelClient>) => {
  const retry = Retry.layer({ attempts: schedule.attempts, base: 1 })
  switch (schedule.kind) {
    case "fallback":
      return Stack.make(Ledger.layer, Fallback.layer([SMALL, LARGE]), retry, provider)
    case "cascade":
      return Stack.make(Ledger.layer, Cascade.layer({ models: [SMALL, LARGE] }), retry, provider)
    case "hedge":
      return Stack.make(Ledger.layer, retry, Hedge.layer({ atLeast: 50, quantile: 0.5, atMost: 0.5 }), provider)
    default:
      return Stack.make(Ledger.layer, retry, provider)
  }
}

/** The requests of a row. */
const requestsOf = (schedule: Schedule, row: number): ReadonlyArray<ModelRequest.Completion> => {
  const text = schedule.prompt(row)
  const image = {
    type: "file" as const,
    mediaType: "image/png",
    data: { _tag: "URL", href: "https://example.com/a.png" } as const
  }
  const request = ModelRequest.completion({
    ...(schedule.kind === "fallback" || schedule.kind === "cascade" ? undefined : { model: SMALL }),
    messages: [{ role: "user", content: schedule.kind === "images" ? [{ type: "text", text }, image, image] : text }],
    settings: schedule.maxTokens === undefined ? {} : { maxTokens: schedule.maxTokens }
  })
  return schedule.kind === "samples" ? [0, 1, 2].map((sample) => ({ ...request, sample })) : [request]
}

const isReached = (error: AiError.AiError) =>
  error.reason._tag === "QuotaExhaustedError" && JSON.stringify(error.reason.metadata).includes("reached")

/** Runs all rows under the cap, dies as often as the schedule says, and resumes with what the ledger has. */
const run = (schedule: Schedule) =>
  Effect.gen(function* () {
    const pricing = yield* Pricing.make(prices)
    const provider = providerOf(schedule)
    const entries: Array<Ledger.AttemptEntry> = []
    const open = new Map<number, Money.Money>()
    const done = new Set<number>()
    let number = 0
    let reached = false
    for (let life = 0; life <= schedule.kills && !reached && done.size < schedule.rows; life++) {
      // What the dead have left is recorded as it was noted.
      for (const cost of open.values()) entries.push({ ...cut, cost })
      open.clear()
      const budget = Budget.make({ usd: Money.toUsd(schedule.cap) }, pricing)
      for (const { cost } of entries) budget.spend("", SMALL, cost!, 0)
      const client = stackOf(schedule, provider.layer)
      const row = (n: number) =>
        Effect.forEach(requestsOf(schedule, n), (request) => ModelClient.send(request), {
          concurrency: "unbounded"
        }).pipe(
          schedule.kind === "cascade" ? Quality.provide({ check: () => schedule.happens(0.7) }) : (self) => self,
          schedule.kind === "objects"
            ? CallContext.provide({ accept: () => (schedule.happens(0.3) ? "it does not fit" : undefined) })
            : (self) => self,
          Effect.timeoutOption(schedule.timeout),
          Effect.exit,
          Effect.map((exit) => {
            if (Exit.isSuccess(exit) && Option.isSome(exit.value)) done.add(n)
            if (Exit.isFailure(exit) && exit.cause.reasons.some((r) => r._tag === "Fail" && isReached(r.error)))
              reached = true
          })
        )
      const rows = Array.from({ length: schedule.rows }, (_, n) => n).filter((n) => !done.has(n))
      const work = Effect.forEach(rows, (n) => (reached ? Effect.void : row(n)), {
        concurrency: schedule.concurrency,
        discard: true
      }).pipe(
        RunHooks.withAttempts(budget.hook),
        Effect.provide(client),
        Effect.provideService(Pricing.Pricing, pricing),
        Effect.provide(Host.layerMemory),
        RunHooks.provide({
          onCall: (call) => {
            const id = ++number
            return { number: id, noted: Effect.sync(() => void open.set(id, call.cost!)) }
          },
          onEntry: (entry) => {
            if (entry._tag !== "Attempt" || dead) return
            open.delete(entry.call!)
            entries.push(entry)
          }
        })
      )
      let dead = false
      const fiber = yield* Effect.forkChild(work)
      const killAt = life < schedule.kills ? 50 + life * 130 : Number.POSITIVE_INFINITY
      for (let at = 0; at < 200_000 && fiber.pollUnsafe() === undefined; at += 25) {
        // A killed process ledger nothing any more: what was noted stays behind.
        if (at >= killAt) {
          dead = true
          yield* Fiber.interrupt(fiber)
          break
        }
        yield* TestClock.adjust(25)
      }
      yield* Fiber.interrupt(fiber)
    }
    for (const cost of open.values()) entries.push({ ...cut, cost })
    const booked = Money.sum(entries.map(({ cost }) => cost ?? Money.zero))
    return { billed: provider.billed(), booked, reached, entries }
  })

const cut: Ledger.AttemptEntry = {
  _tag: "Attempt",
  caller: { run: "", step: "", row: 0 },
  at: 0,
  milliseconds: 0,
  provider: "openai",
  model: SMALL,
  cost: Money.zero,
  estimated: true
}

describe("a budget under random schedules", () => {
  const count = Soak.times(30, 2_000)
  it.effect(
    `holds in ${count}, and is used`,
    () =>
      Effect.gen(function* () {
        const used: Array<number> = []
        for (let seed = 1; seed <= count; seed++) {
          const schedule = scheduleOf(seed)
          const { billed, booked, entries, reached } = yield* run(schedule)
          const text = `seed ${seed} (${schedule.kind}): billed ${Money.format(billed)}, recorded ${Money.format(booked)}, cap ${Money.format(schedule.cap)}`
          assert.isTrue(billed <= schedule.cap, text)
          assert.isTrue(booked >= billed, text)
          // Where the provider has counted every call, the ledger is the bill.
          if (!entries.some(({ estimated }) => estimated === true)) assert.strictEqual(booked, billed, text)
          if (reached) used.push(Number((booked * 1_000n) / schedule.cap) / 1_000)
        }
        used.sort((a, b) => a - b)
        assert.isAbove(used.length, count / 10)
        assert.isAtLeast(used[Math.floor(used.length / 2)]!, 0.95, used.join(" "))
      }),
    Soak.timeout(60_000)
  )
})
