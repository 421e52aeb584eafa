/**
 * A vendor that does not exist, "nimbus", and the plugin for it as a third party writes it: with the public API alone, no
 * internal import and no cast. `start` is the vendor's server, `layer` is the plugin.
 */
import {
  type BatchProvider,
  ModelClient,
  ModelFailure,
  ModelRequest,
  ModelResponse,
  RateLimitHeaders,
  RunHooks,
  Usage
} from "@pipe/core"
import { Clock, Duration, Effect, Layer, Option, Schema, type Scope, Stream } from "effect"
import { AiError } from "effect/ai"
import { createHash } from "node:crypto"
import { openAsBlob } from "node:fs"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"

// The wire format.

const Question = Schema.Struct({
  model: Schema.String,
  prompt: Schema.String,
  max_tokens: Schema.optionalKey(Schema.Int)
})

const Answer = Schema.Struct({
  text: Schema.String,
  model: Schema.String,
  tokens: Schema.Struct({ in: Schema.Int, out: Schema.Int })
})

const Problem = Schema.Struct({ error: Schema.String })

const Models = Schema.Struct({ models: Schema.Array(Schema.String) })

const StoredFile = Schema.Struct({ id: Schema.String })

const NewJob = Schema.Struct({ file: Schema.String, name: Schema.String })

const WireJob = Schema.Struct({
  id: Schema.String,
  status: Schema.Literals(["running", "cancelling", "done", "cancelled"]),
  answered: Schema.Int,
  failed: Schema.Int
})

const WireJobs = Schema.Struct({ jobs: Schema.Array(WireJob) })

/** A line of the uploaded file. */
const JobLine = Schema.Struct({ id: Schema.String, question: Question })

/** A line of the results: an answer, a failure, or nothing done. */
const ResultLine = Schema.Struct({
  id: Schema.String,
  answer: Schema.optionalKey(Answer),
  failure: Schema.optionalKey(Schema.Struct({ status: Schema.Int, error: Schema.String }))
})

// The vendor's server.

/** What happens to one request: a status other than 200, or the connection is dropped once the work is done. */
export type Fault = 429 | 500 | "drop"

export interface ServerOptions {
  readonly key: string
  readonly models: ReadonlyArray<string>
  /** The fault of the n-th single call, from 0. */
  readonly fault?: (call: number) => Fault | undefined
  /** Drops the connection when the n-th job has been created, from 0. */
  readonly dropsJob?: (job: number) => boolean
  /** What becomes of a line of the n-th job, from 0. */
  readonly line?: (prompt: string, job: number) => "expired" | 400 | 500 | undefined
  /** Ends the n-th job, from 0, as cancelled with only half of its answers. */
  readonly stopsJob?: (job: number) => boolean
  /** No job ends while it returns true, unless it is cancelled. */
  readonly isBusy?: () => boolean
}

export interface Billed {
  calls: number
  in: number
  out: number
}

export interface Server {
  readonly url: string
  /** Every request: `POST /v1/answer`. */
  readonly seen: Array<string>
  readonly single: Billed
  readonly batch: Billed
  readonly jobs: () => number
}

const words = (text: string): number => text.split(/\s+/).filter((word) => word !== "").length

type Reply = { readonly status: number; readonly body: unknown; readonly lines?: boolean } | "drop"

interface Job {
  readonly name: string
  readonly lines: ReadonlyArray<typeof JobLine.Type>
  status: (typeof WireJob.Type)["status"]
  results: ReadonlyArray<typeof ResultLine.Type>
}

const problem = (status: number, error: string): Reply => ({ status, body: { error } })

const vendor = (options: ServerOptions) => {
  const single: Billed = { calls: 0, in: 0, out: 0 }
  const batch: Billed = { calls: 0, in: 0, out: 0 }
  const files = new Map<string, string>()
  const jobs = new Map<string, Job>()
  let calls = 0

  const answer = ({ max_tokens: most, model, prompt }: typeof Question.Type, bill: Billed, edition: string) => {
    const text = `${edition}${model} on ${prompt}`.split(" ").slice(0, most).join(" ")
    const tokens = { in: words(prompt), out: words(text) }
    bill.calls++
    bill.in += tokens.in
    bill.out += tokens.out
    return { text, model: `${model}-2026-11-01`, tokens }
  }

  const asked = (body: string, edition: string): Reply => {
    const fault = options.fault?.(calls++)
    if (fault === 429 || fault === 500) return problem(fault, fault === 429 ? "too many requests" : "out of order")
    const question = Schema.decodeUnknownOption(Schema.fromJsonString(Question))(body)
    if (Option.isNone(question)) return problem(400, "not a question")
    const { model } = question.value
    if (!options.models.includes(model)) return problem(404, `no model ${model}`)
    const answered = answer(question.value, single, edition)
    return fault === "drop" ? "drop" : { status: 200, body: answered }
  }

  const shown = (id: string, job: Job): typeof WireJob.Type => ({
    id,
    status: job.status,
    answered: job.results.filter((result) => result.answer !== undefined).length,
    failed: job.results.filter((result) => result.answer === undefined).length
  })

  const work = (job: Job, index: number, edition: string): void => {
    if (job.status === "running" && options.isBusy?.() !== true) {
      const isStopped = options.stopsJob?.(index) === true
      job.status = isStopped ? "cancelled" : "done"
      job.results = job.lines.map(({ id, question }, at) => {
        const ends = isStopped && 2 * at >= job.lines.length ? "expired" : options.line?.(question.prompt, index)
        if (ends === "expired") return { id }
        if (ends !== undefined) return { id, failure: { status: ends, error: `line failed with ${ends}` } }
        return { id, answer: answer(question, batch, edition) }
      })
    } else if (job.status === "cancelling") {
      job.status = "cancelled"
      job.results = job.lines.map(({ id }) => ({ id }))
    }
  }

  const created = (body: string): Reply => {
    const job = Schema.decodeUnknownOption(Schema.fromJsonString(NewJob))(body)
    const text = Option.isSome(job) ? files.get(job.value.file) : undefined
    if (Option.isNone(job) || text === undefined) return problem(400, "no such file")
    const id = `job-${jobs.size}`
    const lines = text.split("\n").flatMap((line) => {
      const known = Schema.decodeUnknownOption(Schema.fromJsonString(JobLine))(line)
      return Option.toArray(known)
    })
    const made: Job = { name: job.value.name, lines, status: "running", results: [] }
    jobs.set(id, made)
    return options.dropsJob?.(jobs.size - 1) === true ? "drop" : { status: 201, body: shown(id, made) }
  }

  const ofJob = (id: string, action: string | undefined, edition: string): Reply => {
    const job = jobs.get(id)
    if (job === undefined) return problem(404, `no job ${id}`)
    if (action === "cancel") {
      if (job.status === "running") job.status = "cancelling"
      return { status: 200, body: shown(id, job) }
    }
    if (action === "results") return { status: 200, body: job.results, lines: true }
    work(job, [...jobs.keys()].indexOf(id), edition)
    return { status: 200, body: shown(id, job) }
  }

  const reply = (method: string, url: URL, key: string, edition: string, body: string): Reply => {
    if (key !== `Bearer ${options.key}`) return problem(401, "the key is not valid")
    const [, , resource, id, action] = url.pathname.split("/")
    switch (`${method} ${resource}`) {
      case "POST answer":
        return asked(body, edition)
      case "GET models":
        return { status: 200, body: { models: options.models } }
      case "PUT files":
        files.set(`file-${files.size}`, body)
        return { status: 200, body: { id: `file-${files.size - 1}` } }
      case "POST jobs":
        return id === undefined ? created(body) : ofJob(id, action, edition)
      case "GET jobs": {
        if (id !== undefined) return ofJob(id, action, edition)
        const name = url.searchParams.get("name")
        const found = [...jobs].filter(([, job]) => job.name === name).map(([of, job]) => shown(of, job))
        return { status: 200, body: { jobs: found } }
      }
      default:
        return problem(404, `no ${method} ${url.pathname}`)
    }
  }
  return { single, batch, jobs, reply }
}

/** Starts the vendor's server. It stops with the scope. */
export const start = (options: ServerOptions): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { batch, jobs, reply, single } = vendor(options)
    const seen: Array<string> = []
    const handle = (request: IncomingMessage, response: ServerResponse): void => {
      let body = ""
      request.setEncoding("utf8")
      request.on("data", (chunk: string) => (body += chunk))
      request.on("end", () => {
        const url = new URL(request.url ?? "/", "http://localhost")
        const method = request.method ?? "GET"
        seen.push(`${method} ${url.pathname}`)
        const edition = request.headers["nimbus-edition"]
        const named = typeof edition === "string" ? `${edition} ` : ""
        const replied = reply(method, url, request.headers.authorization ?? "", named, body)
        if (replied === "drop") return void response.destroy()
        const { body: out, lines, status } = replied
        response.writeHead(status, {
          "content-type": "application/json",
          ...(status === 429 ? { "retry-after-ms": "5" } : undefined)
        })
        response.end(
          lines === true && Array.isArray(out)
            ? out.map((line) => JSON.stringify(line)).join("\n")
            : JSON.stringify(out)
        )
      })
    }
    const server = yield* Effect.acquireRelease(
      Effect.callback<ReturnType<typeof createServer>>((resume) => {
        const made = createServer(handle)
        made.listen(0, "127.0.0.1", () => resume(Effect.succeed(made)))
      }),
      (made) =>
        Effect.callback<void>((resume) => {
          made.close(() => resume(Effect.void))
          made.closeAllConnections()
        })
    )
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    return { url: `http://127.0.0.1:${port}`, seen, single, batch, jobs: () => jobs.size }
  })

// The plugin.

export interface Options {
  readonly baseUrl: string
  /** Default: `NIMBUS_API_KEY`. */
  readonly apiKey?: string
  /** The model of requests that name none. */
  readonly model: string
  /** The edition of the vendor's models: the same name answers differently in another one. */
  readonly edition?: string
}

const KEY = "NIMBUS_API_KEY"
const MODULE = "nimbus"
const OK = 300
const LIMITS: BatchProvider.BatchLimits = { requests: 10_000, bytes: 50_000_000 }

const fail = (reason: AiError.AiErrorReason): AiError.AiError =>
  AiError.make({ module: MODULE, method: "send", reason })

const REFUSED: ReadonlySet<unknown> = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN"])

/**
 * Tests whether `fetch` has failed before anything was sent. Not with `Schema.is`: what it returns changes at its first
 * call, and with it the identity of the provider.
 */
const isRefused = (error: unknown): boolean => {
  const cause = error instanceof Error ? error.cause : undefined
  return cause instanceof Error && "code" in cause && REFUSED.has(cause.code)
}

const noAnswer = (method: string, url: string, cause: unknown): AiError.AiError => {
  const isUnreachable = isRefused(cause)
  return fail(
    new AiError.NetworkError({
      reason: "TransportError",
      method,
      url,
      description: isUnreachable ? `no connection to ${url}` : `the connection to ${url} ended without an answer`,
      cause: new ModelFailure.NoAnswer({ isUnreachable, isSent: !isUnreachable })
    })
  )
}

/** The failure that a status stands for. */
const failureOf = (status: number, description: string, waitMillis?: number): AiError.AiError => {
  switch (status) {
    case 401:
      return fail(new AiError.AuthenticationError({ kind: "InvalidKey", description }))
    case 402:
      return fail(new AiError.QuotaExhaustedError({ metadata: { description } }))
    case 404:
      return fail(new AiError.InvalidRequestError({ description, constraint: ModelFailure.setUp }))
    case 429:
      return fail(
        new AiError.RateLimitError({
          metadata: { description },
          ...(waitMillis === undefined ? undefined : { retryAfter: Duration.millis(waitMillis) })
        })
      )
    default:
      return fail(
        status >= 500
          ? // Nimbus bills answers only.
            new AiError.InternalProviderError({ description, metadata: { [ModelFailure.billableKey]: false } })
          : new AiError.InvalidRequestError({ description })
      )
  }
}

/** Decodes the vendor's JSON. */
const read = <A>(schema: Schema.ConstraintDecoder<A>) => {
  const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(schema))
  return (text: string): Effect.Effect<A, AiError.AiError> =>
    Effect.mapError(decode(text), (error) =>
      ModelFailure.withAnswer(fail(AiError.InvalidResponseError.fromSchemaError(error)), text)
    )
}

/** What the vendor's HTTP API returns, with failures as `AiError`. */
const http = (options: Options, apiKey: string) => {
  const call = (method: string, path: string, body?: string | Blob): Effect.Effect<Response, AiError.AiError> =>
    Effect.gen(function* () {
      if (apiKey === "") {
        const description = `no key: set ${KEY}, or apiKey of Nimbus.layer`
        return yield* fail(new AiError.AuthenticationError({ kind: "MissingKey", description }))
      }
      const url = `${options.baseUrl}${path}`
      const response = yield* Effect.tryPromise({
        try: (signal) =>
          fetch(url, {
            method,
            signal,
            headers: {
              authorization: `Bearer ${apiKey}`,
              "content-type": "application/json",
              ...(options.edition === undefined ? undefined : { "nimbus-edition": options.edition })
            },
            ...(body === undefined ? undefined : { body })
          }),
        catch: (cause) => noAnswer(method, url, cause)
      })
      const now = yield* Clock.currentTimeMillis
      const get: RateLimitHeaders.Get = (name) => response.headers.get(name)
      const { onLimits } = yield* RunHooks.RunHooks
      const observed = onLimits === undefined ? undefined : RateLimitHeaders.observe(get, response.status, now)
      if (observed !== undefined) onLimits?.(observed)
      if (response.status < OK) return response
      const text = yield* textOf(response)
      const said = Schema.decodeUnknownOption(Schema.fromJsonString(Problem))(text)
      const description = Option.isSome(said) ? said.value.error : `status ${response.status}`
      const wait = RateLimitHeaders.retryAfterMillis(get, now)
      return yield* ModelFailure.withAnswer(failureOf(response.status, description, wait), text)
    })
  const textOf = (response: Response): Effect.Effect<string, AiError.AiError> =>
    Effect.tryPromise({ try: () => response.text(), catch: (cause) => noAnswer("GET", response.url, cause) })
  const json = <A>(schema: Schema.ConstraintDecoder<A>, method: string, path: string, body?: string | Blob) =>
    call(method, path, body).pipe(Effect.flatMap(textOf), Effect.flatMap(read(schema)))
  return { call, json }
}

type Http = ReturnType<typeof http>

/** The vendor takes one text: anything else a request may have is refused, rather than left out. */
const questionOf = (
  request: ModelRequest.Completion,
  model: string
): Effect.Effect<typeof Question.Type, AiError.AiError> => {
  const { maxTokens, ...others } = request.settings
  const hasFiles = request.messages.some(
    ({ content }) => typeof content !== "string" && content.some(({ type }) => type === "file")
  )
  const [unknown] = [
    ...(request.tools.length > 0 ? ["tools"] : []),
    ...(request.responseFormat.type === "text" ? [] : ["objects"]),
    ...(hasFiles ? ["files"] : []),
    ...Object.keys(others)
  ]
  return unknown === undefined
    ? Effect.succeed({
        model: request.model ?? model,
        prompt: ModelRequest.text(request),
        ...(maxTokens === undefined ? undefined : { max_tokens: maxTokens })
      })
    : Effect.fail(
        fail(
          new AiError.InvalidRequestError({
            description: `nimbus does not support ${unknown}`,
            constraint: ModelFailure.setUp
          })
        )
      )
}

const responseOf = (
  { model, text, tokens }: typeof Answer.Type,
  requestedModel: string,
  maxTokens?: number
): ModelResponse.CompletionResponse => {
  const usage = Usage.fromInclusive({ input: tokens.in, output: tokens.out })
  return {
    _tag: "CompletionResponse",
    provider: MODULE,
    model,
    requestedModel,
    parts: [{ type: "text", text }],
    finishReason: maxTokens !== undefined && tokens.out >= maxTokens ? "length" : "stop",
    ...(usage === undefined ? undefined : { usage }),
    origin: "provider"
  }
}

const STATES: { readonly [S in (typeof WireJob.Type)["status"]]: BatchProvider.BatchStatus["state"] } = {
  running: "running",
  cancelling: "cancelling",
  done: "ended",
  cancelled: "ended"
}

const statusOf = ({ answered, failed, id, status }: typeof WireJob.Type): BatchProvider.BatchStatus => ({
  id,
  state: STATES[status],
  answered,
  failed,
  ...(STATES[status] === "ended" ? { counted: answered, isWhole: status === "done" } : undefined),
  isCancelled: status === "cancelled",
  files: STATES[status] === "ended" ? [id] : []
})

const outcomeOf = ({ answer, failure }: typeof ResultLine.Type, model: string): BatchProvider.BatchOutcome => {
  if (answer !== undefined)
    return { _tag: "Answered", response: ModelResponse.inTier(responseOf(answer, model), "batch") }
  if (failure !== undefined) return { _tag: "Failed", error: failureOf(failure.status, failure.error) }
  return { _tag: "Unanswered", reason: "nimbus did not answer it" }
}

const notFound = (error: AiError.AiError): boolean =>
  error.reason._tag === "InvalidRequestError" && error.reason.constraint === ModelFailure.setUp

const batchOf = (options: Options, apiKey: string, { call, json }: Http): BatchProvider.BatchProvider => ({
  name: MODULE,
  account: {
    id: createHash("sha256").update(`${options.baseUrl}\n${apiKey}`).digest("hex").slice(0, 16),
    label: options.apiKey === undefined ? KEY : "apiKey"
  },
  limits: LIMITS,
  frame: { head: "", separator: "\n", tail: "\n" },
  encode: (id, request) =>
    request._tag === "Completion"
      ? Effect.map(questionOf(request, options.model), (question) => ({
          endpoint: "/v1/answer",
          text: JSON.stringify({ id, question }),
          inputs: 0
        }))
      : Effect.succeed(undefined),
  upload: ({ file }) =>
    Effect.promise(() => openAsBlob(file)).pipe(
      Effect.flatMap((blob) => json(StoredFile, "PUT", "/v1/files", blob)),
      Effect.map(({ id }) => id)
    ),
  create: ({ name, uploaded = "" }) =>
    Effect.map(json(WireJob, "POST", "/v1/jobs", JSON.stringify({ file: uploaded, name })), statusOf),
  find: ({ name, others }) =>
    Effect.map(json(WireJobs, "GET", `/v1/jobs?name=${encodeURIComponent(name)}`), ({ jobs }) => {
      const found = jobs.find(({ id }) => others?.has(id) !== true)
      return found === undefined ? undefined : statusOf(found)
    }),
  status: (id) =>
    json(WireJob, "GET", `/v1/jobs/${id}`).pipe(
      Effect.map(statusOf),
      Effect.catchIf(notFound, () => Effect.succeed(undefined))
    ),
  cancel: (id) => Effect.asVoid(call("POST", `/v1/jobs/${id}/cancel`)),
  results: ({ files }, model) =>
    Stream.fromIterable(files).pipe(
      Stream.flatMap((id) =>
        Stream.unwrap(
          Effect.map(call("GET", `/v1/jobs/${id}/results`), ({ body, url }) =>
            body === null
              ? Stream.empty
              : Stream.fromReadableStream({ evaluate: () => body, onError: (cause) => noAnswer("GET", url, cause) })
          )
        ).pipe(Stream.decodeText, Stream.splitLines, Stream.zipWithIndex)
      ),
      Stream.map(([text, index]): BatchProvider.BatchResult => {
        const line = Schema.decodeUnknownOption(Schema.fromJsonString(ResultLine))(text)
        return Option.isSome(line)
          ? { customId: line.value.id, outcome: outcomeOf(line.value, model) }
          : { customId: undefined, line: index + 1 }
      })
    )
})

/** The plugin: nimbus at the bottom of a stack. */
export const layer = (options: Options): Layer.Layer<ModelClient.ModelClient> =>
  Layer.effect(
    ModelClient.ModelClient,
    Effect.sync(() => {
      // A missing key fails the first call and not the layer: plans and simulated runs need none.
      const apiKey = options.apiKey ?? process.env[KEY] ?? ""
      const wire = http(options, apiKey)
      return ModelClient.provider({
        name: MODULE,
        answers: { model: options.model, edition: options.edition },
        endpoint: options.baseUrl,
        credentials: { name: KEY, isSet: apiKey !== "" },
        resolve: (request) => (request.model === undefined ? ModelRequest.withModel(request, options.model) : request),
        send: ModelClient.handle({
          Completion: (request) =>
            Effect.flatMap(questionOf(request, options.model), (question) =>
              Effect.map(wire.json(Answer, "POST", "/v1/answer", JSON.stringify(question)), (answer) =>
                responseOf(answer, question.model, question.max_tokens)
              )
            )
        }),
        check: Effect.map(
          wire.json(Models, "GET", "/v1/models"),
          ({ models }) =>
            `${models.length} models, ${options.model} ${models.includes(options.model) ? "is" : "is not"} one`
        ),
        batch: batchOf(options, apiKey, wire)
      })
    })
  )
