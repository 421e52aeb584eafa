/**
 * Several short texts in one prompt, so that a long instruction is paid once. Off for every step that does not ask for it by
 * its options `varies` and `pack`.
 *
 * **Details**
 *
 * - Only requests of one step that are equal but for their text are asked together, each text under a number; answers come
 *   back by number. One that is missing, came twice or does not fit the step's schema is asked again alone. When a whole
 *   prompt is in trouble (not the JSON that was asked for, cut, refused, too long) it is halved.
 * - Each row has its own answer, with its share of the tokens (whole ones, together exactly what was used), which the exact
 *   cache keeps as the answer to the row's own request. The call itself is booked once, under the first of its rows.
 * - `size: "auto"`: the first 40 texts are asked alone, then the same ones in prompts of 20, 10 and 5, until the answers agree
 *   in at least `minAgreement`; where none does, texts go on alone. The store remembers it.
 * - In a share of the prompts one text is asked alone too, to go on measuring the agreement; the row has the single answer.
 *   Where it is certain to be under `minAgreement`, a smaller size is tried (`"auto"`) or a warning says so.
 * - With tools, stop sequences or log-probabilities a text is asked alone; so it is where its requests go in batches.
 *
 * The idea is that of batch prompting (Cheng, Kasai and Yu, "Batch Prompting", arXiv 2301.08721), whose finding it keeps to:
 * quality falls with size, by task and model, so it is measured.
 *
 * Put it under `Cache` and `SemanticCache` and over `Retry`.
 *
 * **Example**
 *
 * ```ts
 * import { Cache, Ledger, Pack, Retry, Stack } from "@pipe/core"
 * import { OpenAi } from "@pipe/plugins"
 *
 * export const stack = Stack.make(
 *   Ledger.layer,
 *   Cache.layer(),
 *   Pack.layer(),
 *   Retry.layer(),
 *   OpenAi.layer({ model: "gpt-4o-mini" })
 * )
 * ```
 *
 * @since 0.1.0
 */
import type * as AiError from "effect/ai/AiError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Request from "effect/Request"
import * as RequestResolver from "effect/RequestResolver"
import * as Caller from "../client/Caller.ts"
import * as LayerEvent from "../client/LayerEvent.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as OptionNames from "../client/OptionNames.ts"
import * as Suspension from "../client/Suspension.ts"
import * as Varying from "../flow/Varying.ts"
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as RequestKey from "../model/RequestKey.ts"
import * as TokenCounter from "../model/TokenCounter.ts"
import type * as ReuseRepo from "../semantic/ReuseRepo.ts"
import * as Store from "../store/Store.ts"
import * as PackPrompt from "./PackPrompt.ts"
import * as PackShares from "./PackShares.ts"
import * as PackSize from "./PackSize.ts"

export interface Options {
  /** Longest wait for a prompt to fill. Default: 100 ms. */
  readonly wait?: Duration.Input
  /** Most tokens of the texts of one prompt, as they are counted. Default: 8,000. */
  readonly maxTokens?: number
}

/** The layer's name in `ModelClient.LayerInfo`. */
export const NAME = "Pack"

/** Scopes that are remembered: where every row has its own, nothing is packed. */
const SCOPES = 10_000

/** Share of the prompts of which one text is asked alone too, where a step does not say. */
export const AUDIT = 0.05

type Response = ModelResponse.CompletionResponse

/** A row's request that waits for others. */
interface Asking extends Request.Request<Response, AiError.AiError> {
  readonly _tag: "Asking"
  readonly request: ModelRequest.Completion
  /** With what the stack below fills in, and a mark for its text. */
  readonly template: ModelRequest.Completion
  readonly text: string
  readonly pack: Varying.Pack
  readonly scope: Scope
}

/** Texts that may be asked together. */
interface Scope {
  readonly step: string
  readonly size: PackSize.PackSize
  readonly books: PackShares.PackBooks
  isAudited: boolean
}

const Asking = Request.tagged<Asking>("Asking")

type Entry = Request.Entry<Asking>

/** Asks the texts of steps that say `pack` together. */
export const layer = (
  options: Options = {}
): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient | Store.Store> => {
  OptionNames.checkNumbers("Pack.layer", options, { maxTokens: OptionNames.COUNT })
  return ModelClient.middlewareEffect((next) => make(next, options), { name: NAME })
}

const make = Effect.fnUntraced(function* (next: ModelClient.Service, options: Options) {
  const { reuse } = yield* Store.Store
  const run = yield* Suspension.Run
  const maxTokens = options.maxTokens ?? 8_000
  const baseline = next.layers?.find(({ baseline }) => baseline !== undefined)?.baseline
  const scopes = new Map<string, Scope>()

  const warn = LayerEvent.once()

  /** What an answer says, as it is compared with another. */
  const keyOf = (text: string, step: string, pack: Varying.Pack) =>
    Effect.suspend(() => {
      let failure: unknown
      const key = Varying.answerKey(text, pack.answer, RequestKey.canonical, (error) => (failure = error))
      return failure === undefined
        ? Effect.succeed(key)
        : Effect.as(warn(Varying.answerFailed(step, "pack", failure), `answer ${step}`), key)
    })

  /** Asks for the answers to some texts together. */
  const together = (template: ModelRequest.Completion, texts: ReadonlyArray<string>) =>
    next.send(PackPrompt.make(template, texts)).pipe(
      Varying.provide({ text: PackPrompt.list(texts) }),
      Effect.updateService(ExpectedUsage.ExpectedUsage, (usage) => ExpectedUsage.forTexts(usage, texts.length)),
      quietly,
      Effect.map((response) => ({
        response,
        answers: PackPrompt.read(response, texts.length, template.responseFormat)
      }))
    )

  /** A row's request by itself, in the row's own context. */
  const alone = (entry: Entry) =>
    Effect.provideContext(
      Effect.exit(
        Effect.map(next.send(entry.request.request), (response) =>
          entry.request.scope.books.single(entry.request.request, response)
        )
      ),
      entry.context
    )

  const single = (entry: Entry) => Effect.map(alone(entry), (exit) => entry.completeUnsafe(exit))

  const ask = (entries: ReadonlyArray<Entry>, isWhole: boolean): Effect.Effect<void> => {
    const [first] = entries
    if (first === undefined) return Effect.void
    if (entries.length === 1) return single(first)
    const texts = entries.map(({ request }) => request.text)
    const { pack, scope } = first.request
    const note = (packed: Omit<ReuseRepo.Packed, "size">) => {
      const doubt = scope.size.record({ size: entries.length, ...packed }, isWhole)
      return doubt === undefined ? Effect.void : Effect.logWarning(doubt)
    }
    const halve = Effect.suspend(() => {
      const middle = Math.ceil(entries.length / 2)
      return Effect.andThen(
        note({ answered: 0, compared: 0, agreed: 0 }),
        Effect.forEach([entries.slice(0, middle), entries.slice(middle)], (half) => ask(half, false), {
          concurrency: "unbounded",
          discard: true
        })
      )
    })
    return Effect.gen(function* () {
      const asked = yield* Effect.exit(Effect.provideContext(together(first.request.template, texts), first.context))
      if (Exit.isFailure(asked)) {
        const failed = asked.cause.reasons.find((reason) => reason._tag === "Fail")
        if (failed !== undefined && isTrouble(failed.error)) return yield* halve
        for (const entry of entries) entry.completeUnsafe(Exit.failCause(asked.cause))
        return
      }
      const { response } = asked.value
      const answers = asked.value.answers?.map((answer, at) =>
        answer !== undefined && acceptOf(entries[at]!)(PackShares.withText(response, answer)) === undefined
          ? answer
          : undefined
      )
      const answered = answers?.filter((answer) => answer !== undefined).length ?? 0
      if (answered === 0) scope.books.waste(response.usage)
      if (answers === undefined) return yield* halve
      const shares = scope.books.shares(
        first.request.template,
        entries.map(({ request }) => request),
        answers,
        response
      )
      const rate = pack.audit ?? AUDIT
      const isAudit = answered > 0 && rate > 0 && (!scope.isAudited || (yield* Random.next) < rate)
      if (isAudit) scope.isAudited = true
      const audited = isAudit ? yield* pick(shares) : -1
      let agreed = 0
      let compared = 0
      yield* Effect.forEach(
        entries,
        (entry, at) => {
          const share = shares[at]
          if (share === undefined) return single(entry)
          if (at !== audited) {
            entry.completeUnsafe(Exit.succeed(share))
            return Effect.void
          }
          return Effect.gen(function* () {
            const exit = yield* alone(entry)
            if (Exit.isFailure(exit)) return entry.completeUnsafe(Exit.succeed(share))
            scope.books.waste(share.usage)
            compared++
            const [own, other] = [
              yield* keyOf(ModelResponse.text(exit.value), scope.step, pack),
              yield* keyOf(ModelResponse.text(share), scope.step, pack)
            ]
            if (own === other) agreed++
            entry.completeUnsafe(exit)
          })
        },
        { concurrency: "unbounded", discard: true }
      )
      yield* note({ answered, compared, agreed })
    })
  }

  const resolvers = new Map<number, RequestResolver.RequestResolver<Asking>>()
  const resolverOf = (size: number) => {
    let resolver = resolvers.get(size)
    if (resolver === undefined) {
      resolver = RequestResolver.makeGrouped<Asking, string>({
        key: ({ request }) => request.scope.size.key,
        resolver: (entries) =>
          Effect.forEach(cut(entries, maxTokens), (group) => ask(group, true), {
            concurrency: "unbounded",
            discard: true
          })
      }).pipe(RequestResolver.setDelay(options.wait ?? "100 millis"), RequestResolver.batchN(size))
      resolvers.set(size, resolver)
    }
    return resolver
  }

  const pack = (
    request: ModelRequest.Completion,
    {
      pack,
      text,
      template
    }: {
      readonly text: string
      readonly template: ModelRequest.Completion
      readonly pack: Varying.Pack
    }
  ): Effect.Effect<Response, AiError.AiError> =>
    Effect.gen(function* () {
      const { step } = yield* Caller.Caller
      const key = PackSize.keyOf(step, template)
      let scope = scopes.get(key)
      if (scope === undefined) {
        const known = yield* Effect.orElseSucceed(reuse.packs(key), () => [])
        const asker = { run: run?.id ?? 0, flow: run?.flow ?? "", step }
        scope = scopes.get(key) ?? {
          step,
          size: PackSize.make({ key, step, pack, known, record: (packed) => reuse.recordPack(asker, key, packed) }),
          books: PackShares.make(baseline),
          isAudited: false
        }
        scopes.set(key, scope)
        if (scopes.size > SCOPES) scopes.delete(scopes.keys().next().value!)
      }
      const { size } = scope
      const asking = { request, template, text, pack, scope }
      for (;;) {
        const standing = size.standing()
        switch (standing._tag) {
          case "Known":
            return standing.size === 1
              ? scope.books.single(request, yield* next.send(request))
              : yield* Effect.request(Asking(asking), resolverOf(standing.size))
          case "Sample":
            return yield* size.sampled(
              text,
              Effect.gen(function* () {
                const response = asking.scope.books.single(request, yield* next.send(request))
                return { response, key: yield* keyOf(ModelResponse.text(response), step, pack) }
              })
            )
          case "Trial": {
            const tried = yield* Effect.result(
              size.trial((texts) =>
                together(template, texts).pipe(
                  Effect.flatMap(({ answers, response }) => {
                    asking.scope.books.waste(response.usage)
                    return Effect.forEach(texts, (_, at) =>
                      answers?.[at] === undefined ? Effect.undefined : keyOf(answers[at], step, pack)
                    )
                  }),
                  Effect.catch((error) =>
                    isTrouble(error) ? Effect.succeed(texts.map(() => undefined)) : Effect.fail(error)
                  )
                )
              )
            )
            // A row does not fail for a trial: it is asked alone, and another row tries again.
            if (tried._tag === "Failure") return asking.scope.books.single(request, yield* next.send(request))
          }
        }
      }
    })

  const send: ModelClient.Send = (request) =>
    Effect.withFiber((fiber) => {
      const varying = fiber.getRef(Varying.Varying)
      if (varying?.pack === undefined || varying.pack.size === 1 || request._tag !== "Completion")
        return next.send(request)
      const { text } = varying
      if (
        Suspension.goesInBatch(next.layers, fiber)
        || text.trim() === ""
        || TokenCounter.estimate(text) > maxTokens / 2
      )
        return next.send(request)
      const completion: ModelRequest.Completion = request
      const template = PackPrompt.template(next.resolve(completion), text)
      if (template === "not found")
        return Effect.andThen(
          warn(Varying.notFound(fiber.getRef(Caller.Caller).step, "every row is asked alone")),
          next.send(request)
        )
      return typeof template === "string"
        ? next.send(request)
        : (pack(completion, { text, template, pack: varying.pack }) as Effect.Effect<
            ModelResponse.ResponseTo<typeof request>,
            AiError.AiError
          >)
    })
  return send
})

/** Whatever comes is looked at here; and what asks is not one row that could be put down. */
const quietly = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  effect.pipe(
    Effect.provideService(ModelClient.Accept, () => undefined),
    Effect.provideService(Suspension.Row, undefined)
  )

const acceptOf = (entry: Entry): ((response: ModelResponse.ModelResponse) => string | undefined) => {
  const accept = entry.context.mapUnsafe.get(ModelClient.Accept.key) as typeof ModelClient.Accept.Service | undefined
  return accept ?? (() => undefined)
}

/** Whether smaller prompts may fare better. */
const isTrouble = (error: AiError.AiError): boolean => {
  const kind = ModelFailure.kind(error)
  return kind === "output" || kind === "overflow" || kind === "refused" || kind === "final"
}

/** Groups whose texts keep within a number of tokens. */
const cut = (entries: ReadonlyArray<Entry>, maxTokens: number): ReadonlyArray<ReadonlyArray<Entry>> => {
  const groups: Array<Array<Entry>> = []
  let left = 0
  for (const entry of entries) {
    const tokens = TokenCounter.estimate(entry.request.text)
    if (groups.length === 0 || tokens > left) {
      groups.push([])
      left = maxTokens
    }
    groups.at(-1)!.push(entry)
    left -= tokens
  }
  return groups
}

/** The position of one of those that are there, by chance. */
const pick = (items: ReadonlyArray<unknown>): Effect.Effect<number> => {
  const there = items.flatMap((item, at) => (item === undefined ? [] : [at]))
  return Effect.map(Random.nextIntBetween(0, there.length - 1), (at) => there[at]!)
}
