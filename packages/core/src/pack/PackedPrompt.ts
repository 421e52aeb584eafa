/**
 * Sends several texts in one prompt and gives each row its answer. Texts without an answer are sent alone or in smaller
 * prompts, and a share is also sent alone to measure agreement.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Request from "effect/Request"
import * as CallContext from "../client/CallContext.ts"
import type * as LayerEvent from "../client/LayerEvent.ts"
import type * as ModelClient from "../client/ModelClient.ts"
import * as Varying from "../flow/Varying.ts"
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as RequestKey from "../model/RequestKey.ts"
import type * as PackRepo from "./PackRepo.ts"
import * as PackPrompt from "./PackPrompt.ts"
import * as PackShares from "./PackShares.ts"
import type * as PackSize from "./PackSize.ts"

/** The default share of prompts in which one text is also sent alone. */
export const AUDIT = 0.05

export type Response = ModelResponse.CompletionResponse

/** Texts that may be packed together. */
export interface PackScope {
  readonly step: string
  readonly size: PackSize.PackSize
  readonly shares: PackShares.PackShares
  isAudited: boolean
}

/** A row's request that waits for others. */
export interface PackRequest extends Request.Request<Response, AiError.AiError> {
  readonly _tag: "Asking"
  readonly request: ModelRequest.Completion
  /** The request as it will reach the provider, with a mark in place of its text. */
  readonly template: ModelRequest.Completion
  readonly text: string
  readonly pack: Varying.Pack
  readonly scope: PackScope
}

export const PackRequest = Request.tagged<PackRequest>("Asking")

export type PackedText = Request.Entry<PackRequest>

/** What sends, and what warns once. */
export interface Sender {
  readonly next: ModelClient.Service
  readonly warn: ReturnType<typeof LayerEvent.once>
}

/** The content of an answer, for comparison. */
export const keyOf = ({ warn }: Sender, text: string, step: string, pack: Varying.Pack): Effect.Effect<string> =>
  Effect.suspend(() => {
    let failure: unknown
    const key = Varying.answerKey(text, pack.answer, RequestKey.canonical, (error) => (failure = error))
    return failure === undefined
      ? Effect.succeed(key)
      : Effect.as(warn(Varying.answerFailed(step, "pack", failure), `answer ${step}`), key)
  })

/** Requests the answers to several texts together. */
export const together = ({ next }: Sender, template: ModelRequest.Completion, texts: ReadonlyArray<string>) =>
  next.send(PackPrompt.make(template, texts)).pipe(
    Varying.provide({ text: PackPrompt.list(texts) }),
    Effect.updateService(ExpectedUsage.ExpectedUsage, (usage) => ExpectedUsage.forTexts(usage, texts.length)),
    quietly,
    Effect.map((response) => ({
      response,
      answers: PackPrompt.read(response, texts.length, template.responseFormat)
    }))
  )

/** Errors are handled here, and the call belongs to no single row that could be suspended. */
const quietly = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  effect.pipe(CallContext.provide({ accept: () => undefined }), CallContext.provideState({ row: undefined }))

/** A row's request alone, in the row's own context. */
const alone = ({ next }: Sender, { context, request: { request, scope } }: PackedText) =>
  Effect.provideContext(
    Effect.exit(Effect.map(next.send(request), (response) => scope.shares.single(request, response))),
    context
  )

const single = (sender: Sender, entry: PackedText): Effect.Effect<void> =>
  Effect.map(alone(sender, entry), (exit) => entry.completeUnsafe(exit))

/** Sends the texts of rows of one scope together. `isWhole`: the prompt has its intended size. */
export const send = (sender: Sender, entries: ReadonlyArray<PackedText>, isWhole: boolean): Effect.Effect<void> => {
  const [first] = entries
  if (first === undefined) return Effect.void
  if (entries.length === 1) return single(sender, first)
  const { scope, template } = first.request
  const note = (packed: Omit<PackRepo.Packed, "size">) => {
    const doubt = scope.size.record({ size: entries.length, ...packed }, isWhole)
    return doubt === undefined ? Effect.void : Effect.logWarning(doubt)
  }
  const halve = Effect.suspend(() => {
    const middle = Math.ceil(entries.length / 2)
    return Effect.andThen(
      note({ answered: 0, compared: 0, agreed: 0 }),
      Effect.forEach([entries.slice(0, middle), entries.slice(middle)], (half) => send(sender, half, false), {
        concurrency: "unbounded",
        discard: true
      })
    )
  })
  return Effect.gen(function* () {
    const texts = entries.map(({ request }) => request.text)
    const rows = entries.map(({ context }) => Context.get(context, CallContext.CallContext).values)
    const asked = yield* together(sender, template, texts).pipe(
      CallContext.provide({ rows }),
      Effect.provideContext(first.context),
      Effect.exit
    )
    if (Exit.isFailure(asked)) {
      const failed = asked.cause.reasons.find((reason) => reason._tag === "Fail")
      if (failed !== undefined && isTrouble(failed.error)) return yield* halve
      for (const entry of entries) entry.completeUnsafe(Exit.failCause(asked.cause))
      return
    }
    const { answers, response } = asked.value
    const usable = answers?.map((answer, at) => usableBy(entries[at]!, response, answer))
    const answered = usable?.filter((answer) => answer !== undefined).length ?? 0
    if (answered === 0) scope.shares.waste(response.usage)
    if (usable === undefined) return yield* halve
    const requests = entries.map(({ request }) => request)
    const shares = scope.shares.shares(template, requests, usable, response)
    yield* note({ answered, ...(yield* give(sender, entries, shares)) })
  })
}

/** An answer that its row accepts. */
const usableBy = (entry: PackedText, response: Response, answer: string | undefined): string | undefined =>
  answer !== undefined && acceptOf(entry)(PackShares.withText(response, answer)) === undefined ? answer : undefined

/** Gives each row its share. Returns how many of the answers that were also requested alone agree. */
const give = Effect.fnUntraced(function* (
  sender: Sender,
  entries: ReadonlyArray<PackedText>,
  shares: ReadonlyArray<Response | undefined>
) {
  const { pack, scope } = entries[0]!.request
  const rate = pack.audit ?? AUDIT
  const isAudit =
    shares.some((share) => share !== undefined) && rate > 0 && (!scope.isAudited || (yield* Random.next) < rate)
  if (isAudit) scope.isAudited = true
  const audited = isAudit ? yield* pick(shares) : -1
  const audits = { compared: 0, agreed: 0 }
  yield* Effect.forEach(
    entries,
    (entry, at) => {
      const share = shares[at]
      if (share === undefined) return single(sender, entry)
      if (at === audited) return audit(sender, entry, share, audits)
      return Effect.sync(() => entry.completeUnsafe(Exit.succeed(share)))
    },
    { concurrency: "unbounded", discard: true }
  )
  return audits
})

/** Sends a text alone too, and compares. The row receives the single answer. */
const audit = Effect.fnUntraced(function* (
  sender: Sender,
  entry: PackedText,
  share: Response,
  audits: { compared: number; agreed: number }
) {
  const { pack, scope } = entry.request
  const exit = yield* alone(sender, entry)
  if (Exit.isFailure(exit)) return entry.completeUnsafe(Exit.succeed(share))
  scope.shares.waste(share.usage)
  audits.compared++
  const own = yield* keyOf(sender, ModelResponse.text(exit.value), scope.step, pack)
  const other = yield* keyOf(sender, ModelResponse.text(share), scope.step, pack)
  if (own === other) audits.agreed++
  entry.completeUnsafe(exit)
})

const acceptOf = (entry: PackedText): CallContext.Accept => Context.get(entry.context, CallContext.CallContext).accept

/** Tests whether smaller prompts may succeed. */
export const isTrouble = (error: AiError.AiError): boolean => {
  const kind = ModelFailure.kind(error)
  return kind === "output" || kind === "overflow" || kind === "refused" || kind === "final"
}

/** Picks a random index. */
const pick = (items: ReadonlyArray<unknown>): Effect.Effect<number> => {
  const there = items.flatMap((item, at) => (item === undefined ? [] : [at]))
  return Effect.map(Random.nextIntBetween(0, there.length - 1), (at) => there[at]!)
}
