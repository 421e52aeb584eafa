/**
 * How an API answers one kind of request: the path, the body, and how its answer is read.
 *
 * @since 0.1.0
 */
import * as ModelFailure from "@pipe/core/ModelFailure"
import * as ModelRequest from "@pipe/core/ModelRequest"
import type * as ModelResponse from "@pipe/core/ModelResponse"
import * as Usage from "@pipe/core/Usage"
import * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Body from "./Body.ts"
import type * as Endpoint from "./Endpoint.ts"
import type * as Events from "./Events.ts"
import * as Fields from "./Fields.ts"
import * as FinishReason from "./FinishReason.ts"
import * as Reply from "./Reply.ts"
import * as StructuredOutput from "./StructuredOutput.ts"
import * as Thinking from "./Thinking.ts"

/** What an answer is read for. */
export interface Asked<R extends ModelRequest.ModelRequest = ModelRequest.ModelRequest> {
  /** The provider's name in price tables. */
  readonly provider: string
  /** The requested model. */
  readonly model: string
  /** The request, unless the answer comes from a batch of an earlier run. */
  readonly request?: R | undefined
}

/** How an API answers one kind of request. `completion` and `embedding` make one. */
export interface Operation<R extends ModelRequest.ModelRequest, A extends ModelResponse.ModelResponse> {
  /** The path below the base URL. Some depend on the request. */
  readonly path: (model: string, request?: R) => string
  /** The body of a call. */
  readonly body: (request: R, asked: Asked<R>) => Effect.Effect<object, AiError.AiError>
  /** Reads the answer. */
  readonly format: (asked: Asked<R>) => Reply.Format<A>
  /** Changes the body of a call whose answer is streamed. Without it, answers arrive whole. */
  readonly streamed?: ((body: object) => object) | undefined
  /** Returns whether a call that failed is to be sent once more: `body` then makes another one. */
  readonly learn?: ((error: AiError.AiError, asked: Asked<R>) => Effect.Effect<boolean>) | undefined
  /** The author's functions, whose code is part of the identity of results. */
  readonly code?: ReadonlyArray<Function> | undefined
  /** Other parts of that identity, as JSON. */
  readonly answers?: unknown
}

/** An operation for completions. */
export interface CompletionOperation extends Operation<ModelRequest.Completion, ModelResponse.CompletionResponse> {}

/** An operation for embeddings, and what one request may hold. A larger one is sent in parts. */
export interface EmbeddingOperation extends Operation<ModelRequest.Embedding, ModelResponse.EmbeddingResponse> {
  readonly limits?: { readonly inputs?: number; readonly bytes?: number } | undefined
}

/** How an API answers decisions. */
export interface DecisionOperation extends Operation<ModelRequest.Decision, ModelResponse.DecisionResponse> {
  /** Whether the API takes a model. A completion answers the decisions of others, without probabilities. */
  readonly takes: (model: string) => boolean
}

/** Sends a request, and once more when the operation has learned from its failure. */
export const send = <R extends ModelRequest.ModelRequest, A extends ModelResponse.ModelResponse>(
  operation: Operation<R, A>,
  endpoint: Endpoint.Endpoint,
  transport: Reply.Transport,
  request: R,
  options: {
    readonly asked: Asked<R>
    /** Whether the answer is streamed, when the API can. */
    readonly stream: boolean
  }
): Effect.Effect<A, AiError.AiError> => {
  const { asked } = options
  const { body, learn, path } = operation
  const streamed = options.stream ? operation.streamed : undefined
  const format = operation.format(asked)
  const assembly = streamed === undefined ? undefined : format.assembly
  const encoded = (made: object) =>
    Body.make(endpoint.module, () => {
      const to = path(asked.model, request)
      return {
        to: to.startsWith("/") ? to : `/${to}`,
        text: Body.encode(streamed === undefined ? made : streamed(made))
      }
    })
  const call = Effect.suspend(() =>
    Effect.flatMapEager(Effect.flatMapEager(body(request, asked), encoded), ({ text, to }) =>
      Reply.answer(endpoint, format, transport(to, text, assembly))
    )
  )
  return learn === undefined
    ? call
    : Effect.catch(call, (error) =>
        Effect.flatMap(learn(error, asked), (learned) => (learned ? call : Effect.fail(error)))
      )
}

/**
 * Tokens as a provider counts them. Cached tokens are part of `input`, and `reasoning` is part of `output`; `total`
 * stands for one of them that is missing. A figure that is not a count makes the usage unknown.
 */
export interface Counts {
  readonly input?: number | null | undefined
  readonly output?: number | null | undefined
  readonly total?: number | null | undefined
  readonly cacheRead?: number | null | undefined
  readonly cacheWrite?: number | null | undefined
  readonly cacheWrite1h?: number | null | undefined
  readonly reasoning?: number | null | undefined
  readonly inputAudio?: number | null | undefined
  readonly inputImage?: number | null | undefined
  readonly outputAudio?: number | null | undefined
  readonly outputImage?: number | null | undefined
  /** Web searches that the provider made for the call. */
  readonly searches?: number | null | undefined
}

/** What an answer says about itself. */
export interface AnswerFacts {
  /** The model that answered. Default: the requested one. */
  readonly model?: string | undefined
  /** Default: unknown, and the call is recorded at the most that it can cost. */
  readonly usage?: Counts | null | undefined
  /** The service tier, unless it is the standard one. */
  readonly serviceTier?: string | undefined
  /** The cost of the call in USD, when the provider reports it. */
  readonly reportedCost?: number | undefined
}

/** A completion, as `read` returns it. */
export interface CompletionFacts extends AnswerFacts {
  /** The text. Thinking in `<think>` before it becomes reasoning. */
  readonly text?: string | undefined
  /** Parts in place of `text`: reasoning, text, tool calls. */
  readonly parts?: ReadonlyArray<ModelResponse.Part> | undefined
  /**
   * Why the model stopped, in the provider's word (`stop`, `max_tokens`, `tool_use`, …). Default: `stop`, or `length`
   * for an answer as long as the request's `maxTokens`.
   */
  readonly finishReason?: string | null | undefined
  readonly id?: string | undefined
  /** The model's words when it refused. */
  readonly refusal?: string | undefined
}

/** The vectors of an answer, in the order of the texts. Its usage needs `input` alone. */
export interface EmbeddingFacts extends AnswerFacts {
  readonly vectors: ReadonlyArray<ReadonlyArray<number>>
}

/** What an API accepts beside a prompt of text. */
export type Accepted = "tools" | "json" | "files" | keyof ModelRequest.Settings

interface Spec<R extends ModelRequest.ModelRequest, W, F> {
  /** The path below the base URL, or a function of the model. */
  readonly path: string | ((model: string) => string)
  /**
   * The body, as JSON. An `undefined` field is left out. Throw a `Body.Unsupported` for a request that the API cannot
   * express.
   */
  readonly body: (request: R, model: string) => object
  /** The answer, as the API sends it. */
  readonly answer: Schema.ConstraintDecoder<W>
  /** Reads the answer. */
  readonly read: (answer: W, asked: Asked<R>) => F
}

/** How an API answers completions. */
export interface CompletionSpec<W> extends Spec<ModelRequest.Completion, W, CompletionFacts> {
  /**
   * The settings that the body sends, and whether it sends tools, files and the JSON Schema of an answer. A request with
   * anything else is refused. Without `"json"`, the prompt describes the schema, and the answer is checked on arrival.
   */
  readonly accepts: ReadonlyArray<Accepted>
  /** How answers are streamed, for layers with `stream: true`. Default: answers arrive whole. */
  readonly stream?: {
    /** Fields of the body that ask for a stream. */
    readonly fields: object
    /** Adds an event to the answer so far, which is `{}` at first. */
    readonly add: (answer: Fields.Fields, event: Fields.Fields) => Fields.Fields
    /** Tests whether the answer is complete. Default: once `[DONE]` has arrived. */
    readonly isWhole?: (answer: Fields.Fields) => boolean
  }
}

/** How an API answers embeddings. */
export interface EmbeddingSpec<W> extends Spec<ModelRequest.Embedding, W, EmbeddingFacts> {
  /** What one request may hold. A larger one is sent in parts. */
  readonly limits?: { readonly inputs?: number; readonly bytes?: number }
  /** Whether the body sends `dimensions`. Default: `false`, and a request with it is refused. */
  readonly acceptsDimensions?: boolean
}

/**
 * Describes the completions of an API.
 *
 * **Example** (an API that takes one text)
 *
 * ```ts
 * import { ModelRequest } from "@pipe/core"
 * import { Operation } from "@pipe/plugins/provider"
 * import { Schema } from "effect"
 *
 * export const answer = Operation.completion({
 *   path: "/v1/answer",
 *   accepts: ["maxTokens"],
 *   body: (request, model) => ({ model, prompt: ModelRequest.text(request), limit: request.settings.maxTokens }),
 *   answer: Schema.Struct({ text: Schema.String, tokens: Schema.Struct({ in: Schema.Int, out: Schema.Int }) }),
 *   read: ({ text, tokens }) => ({ text, usage: { input: tokens.in, output: tokens.out } })
 * })
 * ```
 */
export const completion = <W>(spec: CompletionSpec<W>): CompletionOperation => {
  const accepts = new Set<string>(spec.accepts)
  const reserved = fieldsOf(spec)
  const { stream } = spec
  return {
    path: pathOf(spec.path),
    body: (request, { model, provider }) =>
      Effect.andThen(
        refuseUnknown(request, accepts, provider),
        Body.make(provider, () =>
          withOptions(
            spec.body(accepts.has("json") ? request : described(request), model),
            request,
            provider,
            reserved()
          )
        )
      ),
    format: (asked) => ({
      ...reader(spec, asked, (facts): ModelResponse.CompletionResponse | AiError.AiError => {
        const parts = facts.parts ?? (facts.text === undefined ? [] : Thinking.partsOf(facts.text))
        return {
          _tag: "CompletionResponse",
          ...common(facts, asked),
          parts,
          finishReason: finishOf(facts, asked.request),
          ...(facts.id === undefined ? undefined : { id: facts.id }),
          ...(facts.refusal === undefined ? undefined : { refusal: facts.refusal }),
          origin: "provider"
        }
      }),
      ...(stream === undefined ? undefined : { assembly: () => assembled(stream) })
    }),
    ...(stream === undefined ? undefined : { streamed: (body: object) => ({ ...body, ...stream.fields }) }),
    code: functionsOf(spec, stream === undefined ? [] : [stream.add, stream.isWhole]),
    answers: [partOf(spec.path), spec.accepts, stream?.fields ?? null, schemaOf(spec.answer)]
  }
}

/** A schema as data; a schema that has no such form is left out. */
const schemaOf = (schema: Schema.Constraint): unknown => {
  try {
    return [Schema.toRepresentation(schema), Schema.toRepresentation(Schema.toEncoded(schema))]
  } catch {
    return null
  }
}

/** Fields that every API of models may have, and that a step sets in other ways. */
const RESERVED: Body.Reserved = {
  model: Body.ways.model,
  n: Body.ways.samples,
  stream: Body.ways.stream
}

/** The fields that the body sets for some requests: a request with all settings shows them. */
const fieldsOf = ({ accepts, body }: Pick<CompletionSpec<unknown>, "accepts" | "body">): (() => Body.Reserved) => {
  let known: Body.Reserved | undefined
  return () => {
    if (known !== undefined) return known
    const settings = Object.fromEntries(accepts.map((name) => [name, name === "stop" ? ["x"] : 1]))
    const fields = () => {
      try {
        const request = ModelRequest.completion({ messages: [{ role: "user", content: "" }] })
        return Object.keys(body({ ...request, settings }, ""))
      } catch {
        return []
      }
    }
    known = { ...Object.fromEntries(fields().map((name) => [name, "the step or its settings set it"])), ...RESERVED }
    return known
  }
}

const partOf = (path: string | ((model: string) => string)): string => (typeof path === "string" ? path : "")

/** The author's functions. */
const functionsOf = <R extends ModelRequest.ModelRequest, W, F>(
  { body, path, read }: Spec<R, W, F>,
  others: ReadonlyArray<Function | undefined>
): ReadonlyArray<Function> =>
  [body, read, typeof path === "function" ? path : undefined, ...others].filter((f) => f !== undefined)

/**
 * Describes the embeddings of an API.
 *
 * **Example**
 *
 * ```ts
 * import { Operation } from "@pipe/plugins/provider"
 * import { Schema } from "effect"
 *
 * export const vectors = Operation.embedding({
 *   path: "/v1/embed",
 *   body: ({ inputs }, model) => ({ model, texts: inputs }),
 *   answer: Schema.Struct({ vectors: Schema.Array(Schema.Array(Schema.Finite)), tokens: Schema.Int }),
 *   read: ({ tokens, vectors }) => ({ vectors, usage: { input: tokens } }),
 *   limits: { inputs: 96 }
 * })
 * ```
 */
export const embedding = <W>(spec: EmbeddingSpec<W>): EmbeddingOperation => {
  for (const [name, limit] of Object.entries(spec.limits ?? {})) {
    if (!(limit >= 1)) throw new Error(`Operation.embedding: limits.${name} is ${limit}; expected 1 or more`)
  }
  return embeddingOf(spec)
}

const embeddingOf = <W>(spec: EmbeddingSpec<W>): EmbeddingOperation => ({
  path: pathOf(spec.path),
  body: (request, { model, provider }) =>
    Body.make(provider, () => {
      if (request.dimensions !== undefined && spec.acceptsDimensions !== true)
        throw new Body.Unsupported(`${provider} does not support dimensions: remove it for this model`)
      return withOptions(spec.body(request, model), request, provider, RESERVED)
    }),
  format: (asked) =>
    reader(
      { ...spec, read: (answer, asked) => withoutOutput(spec.read(answer, asked)) },
      asked,
      (facts): ModelResponse.EmbeddingResponse | AiError.AiError => {
        const { vectors } = facts
        const inputs = asked.request?.inputs.length ?? vectors.length
        if (vectors.length === 0 || vectors.length !== inputs) {
          return Fields.malformed(asked.provider, `vector for each of ${inputs} inputs: it has ${vectors.length}`)
        }
        const isSound = vectors.every((vector) => vector.length > 0 && vector.length === vectors[0]!.length)
        if (!isSound) return Fields.malformed(asked.provider, "vectors of one length")
        return { _tag: "EmbeddingResponse", ...common(facts, asked), vectors, origin: "provider" }
      }
    ),
  limits: spec.limits,
  code: functionsOf(spec, []),
  answers: [partOf(spec.path), spec.acceptsDimensions ?? false, schemaOf(spec.answer)]
})

/** The options of a request for this provider alone are fields of the body. */
const withOptions = (
  body: object,
  { providerOptions }: ModelRequest.ModelRequest,
  provider: string,
  reserved: Body.Reserved
): object => Body.withOptions(body, provider, providerOptions[provider], reserved)

/** An embedding has no output. */
const withoutOutput = (facts: EmbeddingFacts): EmbeddingFacts =>
  facts?.usage === undefined || facts.usage === null ? facts : { ...facts, usage: { output: 0, ...facts.usage } }

const pathOf = (path: string | ((model: string) => string)): ((model: string) => string) =>
  typeof path === "string" ? () => path : path

const countedOf = (usage: Counts | null | undefined): Usage.Usage | undefined =>
  usage === undefined || usage === null ? undefined : Usage.fromInclusive(usage)

/** The parts of a response that both kinds have. */
const common = (
  { model, reportedCost, serviceTier, usage }: AnswerFacts,
  asked: Asked
): Pick<
  ModelResponse.CompletionResponse,
  "provider" | "model" | "requestedModel" | "usage" | "serviceTier" | "reportedCost"
> => {
  const counted = countedOf(usage)
  return {
    provider: asked.provider,
    model: Fields.name(model) ?? asked.model,
    requestedModel: asked.model,
    ...(counted === undefined ? undefined : { usage: counted }),
    ...(serviceTier === undefined ? undefined : { serviceTier }),
    ...(reportedCost === undefined ? undefined : { reportedCost })
  }
}

const finishOf = (
  { finishReason, parts, usage }: CompletionFacts,
  request: ModelRequest.Completion | undefined
): ModelResponse.FinishReason => {
  if (typeof finishReason === "string") return FinishReason.of(finishReason)
  if (parts?.some(({ type }) => type === "tool-call") === true) return "tool-calls"
  const most = request?.settings.maxTokens
  return most !== undefined && typeof usage?.output === "number" && usage.output >= most ? "length" : "stop"
}

/** Reads answers by a schema. */
const reader = <R extends ModelRequest.ModelRequest, W, F extends AnswerFacts, A extends ModelResponse.ModelResponse>(
  spec: Spec<R, W, F>,
  asked: Asked<R>,
  make: (facts: F) => A | AiError.AiError
): Reply.Format<A> => {
  const decode = Schema.decodeUnknownExit(spec.answer)
  const factsOf = (body: Fields.Fields): F | undefined => {
    const exit = decode(body)
    try {
      return Exit.isSuccess(exit) ? (spec.read(exit.value, asked) ?? undefined) : undefined
    } catch {
      // `read` reports what an author's function throws.
      return undefined
    }
  }
  return {
    read: (body) => {
      const exit = decode(body)
      if (Exit.isSuccess(exit)) {
        const facts = spec.read(exit.value, asked)
        // The types reject it, but an author may have cast.
        return typeof facts === "object" && facts !== null ? make(facts) : Fields.malformed(asked.provider, "content")
      }
      const error = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
      return AiError.make({
        module: asked.provider,
        method: "send",
        reason: new AiError.InvalidResponseError({
          description: `the answer does not fit its schema: ${String(error).replace(/\s*\n\s*/g, " ")}`
        })
      })
    },
    usage: (body) => {
      return countedOf(factsOf(body)?.usage)
    },
    answered: (body) => {
      const facts = factsOf(body)
      if (facts === undefined) return {}
      const { model, reportedCost, serviceTier } = common(facts, asked)
      return {
        model,
        ...(serviceTier === undefined ? undefined : { serviceTier }),
        ...(reportedCost === undefined ? undefined : { reportedCost })
      }
    },
    isAnswer: (body) => Exit.isSuccess(decode(body))
  }
}

const hasToolParts = ({ content }: ModelRequest.Message): boolean =>
  typeof content !== "string" && content.some(({ type }) => type === "tool-call" || type === "tool-result")

/** What a request has that the API does not take. It is refused, rather than left out. */
const refuseUnknown = (
  { messages, settings, tools }: ModelRequest.Completion,
  accepts: ReadonlySet<string>,
  provider: string
): Effect.Effect<void, AiError.AiError> => {
  const hasFiles = messages.some(
    ({ content }) => typeof content !== "string" && content.some(({ type }) => type === "file")
  )
  const has = [
    ...(tools.length > 0 || messages.some(hasToolParts) ? ["tools"] : []),
    ...(hasFiles ? ["files"] : []),
    ...Object.entries(settings).flatMap(([name, value]) => (value === undefined ? [] : [name]))
  ]
  const unknown = has.find((name) => !accepts.has(name))
  return unknown === undefined
    ? Effect.void
    : Effect.fail(
        AiError.make({
          module: provider,
          method: "send",
          reason: new AiError.InvalidRequestError({
            description: `${provider} does not support ${unknown}: remove it for this model`,
            ...(unknown === "files" ? undefined : { constraint: ModelFailure.setUp }),
            metadata: { [ModelFailure.unsentKey]: true }
          })
        })
      )
}

/** The same request with the schema of its answer in the prompt. */
const described = (request: ModelRequest.Completion): ModelRequest.Completion =>
  request.responseFormat.type === "text"
    ? request
    : {
        ...request,
        responseFormat: { type: "text" },
        messages: [
          { role: "system", content: StructuredOutput.instruction(request.responseFormat) },
          ...request.messages
        ]
      }

/** Assembles a streamed answer by the author's function. */
const assembled = ({ add, isWhole }: NonNullable<CompletionSpec<unknown>["stream"]>): Events.Assembly => {
  let answer: Fields.Fields = {}
  let hasStarted = false
  let isBroken = false
  const isEnd = (): boolean => {
    try {
      return !isBroken && isWhole?.(answer) === true
    } catch {
      // An answer that has not come so far.
      return false
    }
  }
  return {
    add: (event) => {
      hasStarted = true
      try {
        answer = add(answer, event)
      } catch {
        // An event of another form than the author expects: the answer then counts as cut.
        isBroken = true
      }
    },
    hasStarted: () => hasStarted,
    isWhole: (isDone) => (isWhole === undefined ? isDone && !isBroken : isEnd()),
    ...(isWhole === undefined ? undefined : { isOver: isEnd }),
    body: () => answer
  }
}
