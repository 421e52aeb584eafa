/**
 * Sends the texts of a group in one prompt, and says what the prompt came to for each of them. Texts without an answer
 * are sent alone or in smaller prompts, and a share is also sent alone to measure agreement.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as CallContext from "../client/CallContext.ts"
import type * as LayerEvent from "../client/LayerEvent.ts"
import type * as ModelClient from "../client/ModelClient.ts"
import * as Varying from "../flow/Varying.ts"
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import * as RequestKey from "../model/RequestKey.ts"
import type * as PackGroup from "./PackGroup.ts"
import type * as PackRepo from "./PackRepo.ts"
import * as PackPrompt from "./PackPrompt.ts"
import * as PackShares from "./PackShares.ts"

/** The default share of prompts in which one text is also sent alone. */
export const AUDIT = 0.05

export type Response = ModelResponse.CompletionResponse

/** What sends, and what warns once. */
export interface Sender {
  readonly next: ModelClient.Service
  readonly warn: ReturnType<typeof LayerEvent.once>
}

/** What a packed prompt came to for one of its texts. */
export type PackedAnswer =
  | { readonly _tag: "Share"; readonly response: Response }
  /** Its answer is compared with a single one. */
  | {
      readonly _tag: "Audited"
      readonly response: Response
      readonly note: (audit: Pick<PackRepo.Packed, "compared" | "agreed">) => Effect.Effect<void>
    }
  | { readonly _tag: "Alone" }
  | { readonly _tag: "Failed"; readonly cause: Cause.Cause<AiError.AiError> }

const ALONE: PackedAnswer = { _tag: "Alone" }

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
export const together = (
  send: ModelClient.Send,
  template: ModelRequest.Completion,
  texts: ReadonlyArray<string>
): Effect.Effect<
  { readonly response: Response; readonly answers: ReturnType<typeof PackPrompt.read> },
  AiError.AiError
> =>
  send(PackPrompt.make(template, texts)).pipe(
    Varying.provide({ text: PackPrompt.list(texts) }),
    Effect.updateService(ExpectedUsage.ExpectedUsage, (usage) => ExpectedUsage.forTexts(usage, texts.length)),
    // The whole answer is checked here, text by text.
    CallContext.provide({ accept: CallContext.empty.accept }),
    Effect.map((response) => ({
      response,
      answers: PackPrompt.read(response, texts.length, template.responseFormat)
    }))
  )

/** What a group's prompt came to, text by text. Runs in the context of one of its rows. */
export const answers = (
  sender: Sender,
  group: PackGroup.PackGroup,
  /** Whether the prompt has its intended size. */
  isWhole = true
): Effect.Effect<ReadonlyArray<PackedAnswer>> => {
  const { rows, scope, template, texts } = group
  if (texts.length === 1) return Effect.succeed([ALONE])
  const note = (packed: Omit<PackRepo.Packed, "size">) => {
    const doubt = scope.size.record({ size: texts.length, ...packed }, isWhole)
    return doubt === undefined ? Effect.void : Effect.logWarning(doubt)
  }
  const halve = Effect.suspend(() => {
    const middle = Math.ceil(texts.length / 2)
    const half = (from: number, to?: number) =>
      answers(sender, { ...group, texts: texts.slice(from, to), rows: rows.slice(from, to), audit: "none" }, false)
    return Effect.andThen(
      note({ answered: 0, compared: 0, agreed: 0 }),
      Effect.map(Effect.all([half(0, middle), half(middle)], { concurrency: "unbounded" }), (halves) => halves.flat())
    )
  })
  return Effect.matchCauseEffect(
    CallContext.provide({ rows: rows.map(({ values }) => values), row: rows[0]!.row, ...positionOf(rows[0]!) })(
      together(sender.next.send, template, texts)
    ),
    {
      onFailure: (cause): Effect.Effect<ReadonlyArray<PackedAnswer>> => {
        const failed = cause.reasons.find(Cause.isFailReason)
        return failed !== undefined && isTrouble(failed.error)
          ? halve
          : Effect.succeed(texts.map((): PackedAnswer => ({ _tag: "Failed", cause })))
      },
      onSuccess: ({ answers, response }) => {
        const usable = answers?.map((answer, at) =>
          answer !== undefined && rows[at]!.accept?.(PackShares.withText(response, answer)) === undefined
            ? answer
            : undefined
        )
        const answered = usable?.filter((answer) => answer !== undefined).length ?? 0
        if (answered === 0) scope.shares.waste(response.usage)
        return usable === undefined
          ? halve
          : shared(group, scope.shares.shares(template, texts, usable, response), answered, note)
      }
    }
  )
}

const positionOf = ({ position }: PackRepo.PackedRow) => (position === undefined ? undefined : { position })

/** Gives each text its share, and chooses one to compare. */
const shared = Effect.fnUntraced(function* (
  { audit, pack, scope }: PackGroup.PackGroup,
  shares: ReadonlyArray<Response | undefined>,
  answered: number,
  note: (packed: Omit<PackRepo.Packed, "size">) => Effect.Effect<void>
) {
  const chosen = audit === "later" ? yield* auditOf(scope, pack, shares.length) : audit
  // The chosen text, or the next one that has an answer.
  const audited = chosen === "none" ? -1 : nextAnswered(shares, chosen)
  if (audited < 0) yield* note({ answered, compared: 0, agreed: 0 })
  return shares.map((response, at): PackedAnswer =>
    response === undefined
      ? ALONE
      : at === audited
        ? { _tag: "Audited", response, note: (audit) => note({ answered, ...audit }) }
        : { _tag: "Share", response }
  )
})

const nextAnswered = (shares: ReadonlyArray<Response | undefined>, from: number): number => {
  const after = shares.findIndex((share, at) => at >= from && share !== undefined)
  return after < 0 ? shares.findIndex((share) => share !== undefined) : after
}

/** Chooses the text of a prompt that is also sent alone, if any. The first prompt of a scope always has one. */
export const auditOf = Effect.fnUntraced(function* (
  scope: PackGroup.PackScope,
  pack: Varying.Pack,
  texts: number
): Effect.fn.Return<number | "none"> {
  const rate = pack.audit ?? AUDIT
  if (rate === 0 || (scope.isAudited && (yield* Random.next) >= rate)) return "none"
  scope.isAudited = true
  return yield* Random.nextIntBetween(0, texts - 1)
})

/** Tests whether smaller prompts may succeed. */
export const isTrouble = (error: AiError.AiError): boolean => {
  const kind = ModelFailure.kind(error)
  return kind === "output" || kind === "overflow" || kind === "refused" || kind === "final"
}

/** Tests whether a prompt has ended for all of its texts. One that was interrupted is sent again. */
export const isOver = (answers: ReadonlyArray<PackedAnswer>): boolean =>
  answers.every((answer) => answer._tag !== "Failed" || !Cause.hasInterrupts(answer.cause))
