/**
 * Chooses which exchanges of a run are kept: the first, those that failed, those in doubt, and the last two of each
 * step. Their cost in time and disk space does not grow with the run.
 *
 * @internal
 */
import type * as Exchange from "../client/Exchange.ts"
import * as Secret from "../encoding/Secret.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as RequestKey from "../model/RequestKey.ts"
import * as LabelRepo from "../review/LabelRepo.ts"
import type * as ExchangeRepo from "./ExchangeRepo.ts"

/** The number of exchanges kept unconditionally. */
export const FIRST = 10_000

/** The number of exchanges that failed or are in doubt kept in addition. */
const MOST_WRONG = 10_000

/** A decision below this probability is in doubt. */
const DOUBTFUL = 0.8

/** The number kept at the end of each step. */
const LAST = 2

/** The most characters of a text in an exchange. */
const MOST_TEXT = 20_000

export interface ExchangeSample {
  readonly observe: (exchange: Exchange.Exchange) => void
  /** Keeps the last exchanges of each step. */
  readonly end: () => void
}

export const make = (
  store: Pick<ExchangeRepo.ExchangeRepo, "append">,
  run: number,
  parameters: ReadonlyMap<string, unknown>
): ExchangeSample => {
  let kept = 0
  let wrong = 0
  const last = new Map<string, Array<Exchange.Exchange>>()
  const keep = (exchange: Exchange.Exchange) => store.append(run, toStored(exchange, parameters))
  return {
    observe: (exchange) => {
      const isWrong = exchange.error !== undefined || !isWhole(exchange.response) || isDoubtful(exchange.response)
      if (kept < FIRST || (isWrong && wrong < MOST_WRONG)) {
        if (kept < FIRST) kept++
        else wrong++
        return keep(exchange)
      }
      const { step } = exchange.caller
      const recent = last.get(step)
      if (recent === undefined) last.set(step, [exchange])
      else {
        recent.push(exchange)
        if (recent.length > LAST) recent.shift()
      }
    },
    end: () => {
      for (const recent of last.values()) recent.forEach(keep)
      last.clear()
    }
  }
}

const isDoubtful = (response: ModelResponse.ModelResponse | undefined): boolean =>
  response?._tag === "DecisionResponse"
  && Object.values(response.answers).some((answer) => (ModelResponse.certainty(answer) ?? 1) < DOUBTFUL)

/** The geometric mean of the probabilities of its tokens, where they were requested. */
const certaintyOf = ({ logprobs = [] }: ModelResponse.CompletionResponse): number | undefined =>
  logprobs.length === 0 ? undefined : Math.exp(logprobs.reduce((sum, one) => sum + one, 0) / logprobs.length)

const isWhole = (response: ModelResponse.ModelResponse | undefined): boolean =>
  response !== undefined && ModelResponse.isComplete(response)

const toStored = (
  exchange: Exchange.Exchange,
  parameters: ReadonlyMap<string, unknown>
): ExchangeRepo.WrittenExchange => {
  const { caller, cost, error, request, response, usage, values } = exchange
  return {
    step: caller.step,
    row: caller.row,
    position: caller.position ?? "",
    sample: request._tag === "Completion" ? request.sample : 0,
    at: exchange.at,
    milliseconds: exchange.milliseconds,
    origin: exchange.origin,
    provider: exchange.provider,
    model: exchange.model,
    request: textOf(request),
    answer: response === undefined ? undefined : textOf(answerOf(response)),
    error,
    tokens: usage === undefined ? undefined : JSON.stringify(usage),
    cost,
    content: values === undefined ? undefined : LabelRepo.keyOf(values, parameters)
  }
}

/** The answer: its parts and its finish reason. Of vectors only their number and length. */
const answerOf = (response: ModelResponse.ModelResponse): object =>
  response._tag === "CompletionResponse"
    ? {
        parts: response.parts,
        finishReason: response.finishReason,
        certainty: certaintyOf(response),
        ...(response.refusal === undefined ? undefined : { refusal: response.refusal })
      }
    : response._tag === "EmbeddingResponse"
      ? { vectors: response.vectors.length, dimensions: response.vectors[0]?.length ?? 0 }
      : { answers: response.answers }

/** Encodes as JSON: long texts are truncated, files are replaced by their size, keys are masked. */
const textOf = (value: object): string => {
  const text = JSON.stringify(value)
  return isShown(value, "") ? text : JSON.stringify(value, shortened)
}

/** Constant parts of requests, such as schemas, with the number of secrets that were known when they had none. */
const shown = new WeakMap<object, number>()

/** Tests whether nothing in a value is truncated, replaced or masked. */
const isShown = (value: unknown, name: string): boolean => {
  if (typeof value === "string") return shortened(name, value) === value
  if (typeof value !== "object" || value === null) return true
  if (!isPlain(value)) return false
  const isConstant = RequestKey.isConstant(value)
  if (isConstant && shown.get(value) === Secret.count()) return true
  for (const key in value) if (!isShown((value as Record<string, unknown>)[key], key)) return false
  if (isConstant) shown.set(value, Secret.count())
  return true
}

/** Tests whether JSON has the fields of a value: others, such as a URL, have a form of their own there. */
const isPlain = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return (prototype === Object.prototype || prototype === Array.prototype) && !("toJSON" in value)
}

const shortened = (name: string, given: unknown): unknown => {
  const field: unknown = given instanceof String ? given.valueOf() : given
  if (typeof field !== "string") return field
  if (name === "base64" || name === "data") return `(${field.length} characters of a file)`
  const masked = Secret.mask(field)
  return masked.length > MOST_TEXT
    ? `${masked.slice(0, MOST_TEXT).toWellFormed()}… (${masked.length - MOST_TEXT} more characters)`
    : masked
}
