/**
 * The simulator's files and batches: OpenAI's and Anthropic's, with the faults that batches have.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import type { IncomingMessage, ServerResponse } from "node:http"
import type { BatchOptions, BatchStage, CreatedBatch, Options } from "./Options.ts"
import type { Engine } from "./Engine.ts"
import * as Script from "./Script.ts"
import type { Json } from "./Wire.ts"

interface Entry {
  readonly customId: string
  readonly endpoint: string
  readonly body: Json
}

/** What came of a request: `undefined` for none at all. */
type Fate = "answered" | "refused" | "failed" | "expired" | "cancelled" | undefined

interface Batch {
  readonly id: string
  readonly wire: "openai" | "anthropic"
  readonly endpoint: string
  readonly input: string
  readonly bytes: number
  readonly entries: ReadonlyArray<Entry>
  readonly tokens: number
  readonly metadata: { readonly [name: string]: string }
  readonly createdAt: number
  /** When all will be done. */
  endsAt: number
  cancelledAt: number | undefined
  rejection: { readonly code: string; readonly message: string; readonly line: number | null } | undefined
  fates: ReadonlyArray<Fate> | undefined
}

interface File {
  readonly id: string
  readonly filename: string
  readonly purpose: string
  readonly createdAt: number
  readonly content: Buffer
}

export interface Batches {
  /** Whether the request was one for files and batches. */
  readonly handle: (request: IncomingMessage, response: ServerResponse) => boolean
  readonly log: () => ReadonlyArray<CreatedBatch>
  /** Ends the batches that run, whatever their latency. */
  readonly end: () => void
}

const ROUTE = /^\/v1\/(files|batches|messages\/batches)(?:\/([^/]+))?(?:\/([^/]+))?$/

export const make = ({ batches: options = {} }: Options, engine: Engine): Batches => {
  const latency = Duration.toMillis(Duration.fromInputUnsafe(options.latency ?? "1 second"))
  const files = new Map<string, File>()
  const batches = new Map<string, Batch>()
  /** What is left of faults that come a number of times. */
  const left = {
    invalid: options.invalid ?? 0,
    lostCreations: options.lostCreations ?? 0,
    failedUploads: options.failedUploads ?? 0,
    cutDownloads: options.cutDownloads ?? 0
  }
  let number = 0
  const nextId = (prefix: string) =>
    `${prefix}_${Math.floor(Script.chance(engine.seed, prefix, String(++number)) * 2 ** 40).toString(36)}${number}`
  const take = (fault: keyof typeof left): boolean => left[fault] > 0 && left[fault]-- > 0

  const isOver = (batch: Batch, now = Date.now()): boolean =>
    batch.rejection !== undefined || batch.cancelledAt !== undefined || now >= batch.endsAt

  /** Which requests were done, and what came of them; made when it is first looked at after the end. */
  const fatesOf = (batch: Batch): ReadonlyArray<Fate> => {
    if (batch.fates !== undefined) return batch.fates
    const share =
      batch.cancelledAt === undefined
        ? 1
        : Math.min(1, Math.max(0, (batch.cancelledAt - batch.createdAt) / Math.max(1, batch.endsAt - batch.createdAt)))
    batch.fates = batch.entries.map((entry, index): Fate => {
      if (index >= Math.floor(batch.entries.length * share)) return "cancelled"
      return fateOf(
        options,
        (kind) => Script.chance(engine.seed, kind, batch.id, JSON.stringify(entry.body)),
        (kind) => Script.chance(engine.seed, kind, JSON.stringify(entry.body))
      )
    })
    return batch.fates
  }

  const countsOf = (batch: Batch) => {
    const total = batch.entries.length
    if (batch.rejection !== undefined) return { total: 0, answered: 0, failed: 0, expired: 0, cancelled: 0, running: 0 }
    if (!isOver(batch)) {
      const answered = Math.floor((total * (Date.now() - batch.createdAt)) / Math.max(1, latency))
      return { total, answered, failed: 0, expired: 0, cancelled: 0, running: total - answered }
    }
    const fates = fatesOf(batch)
    const count = (...kinds: ReadonlyArray<Fate>) => fates.filter((fate) => kinds.includes(fate)).length
    return {
      total,
      answered: count("answered"),
      failed: count("refused", "failed"),
      expired: count("expired"),
      cancelled: count("cancelled"),
      running: 0
    }
  }

  /** The lines of the results, as their wire has them: those of answers, and those of errors. */
  const linesOf = (
    batch: Batch
  ): { readonly output: ReadonlyArray<string>; readonly errors: ReadonlyArray<string> } => {
    const output: Array<string> = []
    const errors: Array<string> = []
    fatesOf(batch).forEach((fate, index) => {
      const entry = batch.entries[index]!
      if (fate === undefined) return
      const line = batch.wire === "openai" ? openAiLine(entry, fate) : anthropicLine(entry, fate)
      const text = JSON.stringify({ ...line, custom_id: entry.customId })
      const lines = fate === "answered" || batch.wire === "anthropic" ? output : errors
      lines.push(text)
      if (Script.chance(engine.seed, "duplicate", entry.customId) < (options.duplicates ?? 0)) lines.push(text)
    })
    const shuffled = (lines: ReadonlyArray<string>) =>
      options.ordered === true
        ? lines
        : lines
            .map((line, index) => [Script.chance(engine.seed, "order", String(index)), line] as const)
            .sort(([a], [b]) => a - b)
            .map(([, line]) => line)
    return { output: shuffled(output), errors: shuffled(errors) }
  }

  const openAiLine = ({ body, endpoint }: Entry, fate: Exclude<Fate, undefined>) => {
    switch (fate) {
      case "answered":
        return {
          id: nextId("batch_req"),
          response: { status_code: 200, request_id: "", body: engine.answer(endpoint, body, "batch") },
          error: null
        }
      case "refused":
      case "failed": {
        const [status_code, type, message] = errorOf(fate)
        return {
          id: nextId("batch_req"),
          response: { status_code, request_id: "", body: { error: { message, type, param: null, code: null } } },
          error: null
        }
      }
      default:
        return {
          id: nextId("batch_req"),
          response: null,
          error: { code: `batch_${fate}`, message: "This request was not executed." }
        }
    }
  }

  const anthropicLine = ({ body, endpoint }: Entry, fate: Exclude<Fate, undefined>) => {
    switch (fate) {
      case "answered":
        return { result: { type: "succeeded", message: engine.answer(endpoint, body, "batch") } }
      case "refused":
      case "failed": {
        const [, type, message] = errorOf(fate)
        return {
          result: {
            type: "errored",
            error: { type: "error", error: { type: type === "server_error" ? "api_error" : type, message } }
          }
        }
      }
      default:
        return { result: { type: fate === "cancelled" ? "canceled" : fate } }
    }
  }

  const results = new Map<string, { readonly output: string; readonly errors: string }>()
  const resultsOf = (batch: Batch) => {
    let made = results.get(batch.id)
    if (made === undefined) {
      const { errors, output } = linesOf(batch)
      results.set(
        batch.id,
        (made = {
          output: output.map((line) => `${line}\n`).join(""),
          errors: errors.map((line) => `${line}\n`).join("")
        })
      )
    }
    return made
  }

  const statusOf = (batch: Batch): string => {
    if (batch.rejection !== undefined) return "failed"
    if (batch.cancelledAt !== undefined) return "cancelled"
    if (!isOver(batch)) return "in_progress"
    return fatesOf(batch).includes("expired") ? "expired" : "completed"
  }

  const openAiBatch = (batch: Batch) => {
    const { answered, failed, total } = countsOf(batch)
    const over = isOver(batch) && batch.rejection === undefined
    const made = over ? resultsOf(batch) : undefined
    return {
      id: batch.id,
      object: "batch",
      endpoint: batch.endpoint,
      errors: batch.rejection === undefined ? null : { object: "list", data: [{ ...batch.rejection, param: null }] },
      input_file_id: batch.input,
      completion_window: "24h",
      status: statusOf(batch),
      output_file_id: made === undefined || made.output === "" ? null : `${batch.id}-output`,
      error_file_id: made === undefined ? null : made.errors === "" ? "" : `${batch.id}-errors`,
      created_at: Math.floor(batch.createdAt / 1_000),
      metadata: batch.metadata,
      request_counts: { total, completed: answered, failed }
    }
  }

  const anthropicBatch = (batch: Batch, host: string) => {
    const { answered, cancelled, expired, failed, running } = countsOf(batch)
    const over = isOver(batch)
    return {
      id: batch.id,
      type: "message_batch",
      processing_status: over ? "ended" : "in_progress",
      request_counts: { processing: running, succeeded: answered, errored: failed, canceled: cancelled, expired },
      created_at: new Date(batch.createdAt).toISOString(),
      expires_at: new Date(batch.createdAt + 86_400_000).toISOString(),
      ended_at: over ? new Date().toISOString() : null,
      cancel_initiated_at: batch.cancelledAt === undefined ? null : new Date(batch.cancelledAt).toISOString(),
      archived_at: null,
      results_url: over ? `http://${host}/v1/messages/batches/${batch.id}/results` : null
    }
  }

  const create = (made: Pick<Batch, "wire" | "endpoint" | "input" | "bytes" | "entries" | "metadata">): Batch => {
    const now = Date.now()
    const tokens =
      options.enqueuedTokens === undefined
        ? 0
        : made.entries.reduce(
            (sum, { body }) => sum + engine.count(JSON.stringify(body["messages"] ?? body["input"] ?? "")),
            0
          )
    const waiting = [...batches.values()]
      .filter((batch) => !isOver(batch))
      .reduce((sum, batch) => sum + batch.tokens, 0)
    const rejection =
      options.enqueuedTokens !== undefined && waiting + tokens > options.enqueuedTokens
        ? {
            code: "token_limit_exceeded",
            message: `Enqueued token limit reached for ${made.entries[0]?.body["model"]} in organization simulated. Limit: ${options.enqueuedTokens} enqueued tokens. Please try again once some in_progress batches have been completed.`,
            line: null
          }
        : made.entries.length > 1 && take("invalid")
          ? { code: "invalid_value", message: "the simulator found fault with this request", line: 2 }
          : undefined
    const batch: Batch = {
      ...made,
      id: nextId(made.wire === "openai" ? "batch" : "msgbatch"),
      tokens,
      createdAt: now,
      endsAt: now + latency,
      cancelledAt: undefined,
      rejection,
      fates: undefined
    }
    batches.set(batch.id, batch)
    return batch
  }

  const page = (wire: Batch["wire"], query: URLSearchParams) => {
    const all = [...batches.values()].filter((batch) => batch.wire === wire).reverse()
    const after = query.get("after") ?? query.get("after_id")
    const from = after === null ? 0 : all.findIndex(({ id }) => id === after) + 1
    const limit = Number(query.get("limit") ?? 20)
    return { data: all.slice(from, from + limit), has_more: from + limit < all.length }
  }

  const respond = async (request: IncomingMessage, body: Buffer, response: ServerResponse): Promise<void> => {
    const { pathname, searchParams } = new URL(request.url!, "http://localhost")
    const [, kind, id, action] = ROUTE.exec(pathname)!
    const anthropic = kind === "messages/batches"
    const json = (status: number, value: unknown) => {
      response.writeHead(status, { "content-type": "application/json" })
      response.end(JSON.stringify(value))
    }
    const error = (status: number, type: string, message: string) =>
      json(
        status,
        anthropic ? { type: "error", error: { type, message } } : { error: { type, message, code: null, param: null } }
      )
    const stage = (name: BatchStage) => options.onStage?.(name)
    const download = (text: string) => {
      const bytes = Buffer.from(text)
      stage("downloading")
      response.writeHead(200, { "content-type": "application/octet-stream", "content-length": bytes.length })
      if (!take("cutDownloads")) return response.end(bytes, () => stage("downloaded"))
      response.write(bytes.subarray(0, bytes.length / 2))
      setTimeout(() => response.destroy(), 20)
    }

    if (kind === "files") {
      if (request.method === "POST") {
        stage("uploading")
        if (take("failedUploads")) return error(500, "server_error", "the upload failed")
        const form = await new Response(new Uint8Array(body), {
          headers: { "content-type": request.headers["content-type"] ?? "" }
        }).formData()
        const part = form.get("file")
        if (part === null || typeof part === "string") return error(400, "invalid_request_error", "file is missing")
        const file: File = {
          id: nextId("file"),
          filename: part.name,
          purpose: String(form.get("purpose")),
          createdAt: Date.now(),
          content: Buffer.from(await part.arrayBuffer())
        }
        files.set(file.id, file)
        stage("uploaded")
        return json(200, fileObject(file))
      }
      if (id === undefined)
        return json(200, { object: "list", data: [...files.values()].reverse().map(fileObject), has_more: false })
      if (request.method === "DELETE" && files.delete(id)) return json(200, { id, object: "file", deleted: true })
      if (action !== "content") return error(404, "invalid_request_error", `No such File object: ${id}`)
      const [, name, which] = /^(.*)-(output|errors)$/.exec(id) ?? []
      const batch = name === undefined ? undefined : batches.get(name)
      if (batch === undefined) return error(404, "invalid_request_error", `No such File object: ${id}`)
      return void download(resultsOf(batch)[which as "output" | "errors"])
    }

    const wire = anthropic ? "anthropic" : "openai"
    const host = request.headers.host ?? ""
    const show = (batch: Batch) => (anthropic ? anthropicBatch(batch, host) : openAiBatch(batch))
    if (id === undefined && request.method === "GET") {
      const { data, has_more } = page(wire, searchParams)
      return json(200, {
        object: "list",
        data: data.map(show),
        has_more,
        first_id: data[0]?.id ?? null,
        last_id: data.at(-1)?.id ?? null
      })
    }
    if (id === undefined) {
      stage("creating")
      const given = JSON.parse(body.toString("utf8")) as Json
      const made = anthropic ? readAnthropic(given, body.length) : readOpenAi(given, files)
      if (typeof made === "string") return error(400, "invalid_request_error", made)
      const batch = create(made)
      stage("created")
      return take("lostCreations") ? void response.destroy() : json(200, show(batch))
    }
    const batch = batches.get(id)
    if (batch === undefined || batch.wire !== wire)
      return error(404, anthropic ? "not_found_error" : "invalid_request_error", `No batch found with id '${id}'.`)
    switch (action) {
      case "cancel":
        if (!isOver(batch)) batch.cancelledAt = Date.now()
        return json(200, show(batch))
      case "results":
        return void download(resultsOf(batch).output)
      default:
        stage("polled")
        return json(200, show(batch))
    }
  }

  return {
    end: () => {
      for (const batch of batches.values()) batch.endsAt = Math.min(batch.endsAt, Date.now())
    },
    log: () =>
      Array.from(batches.values(), (batch) => ({
        id: batch.id,
        wire: batch.wire,
        endpoint: batch.endpoint,
        requests: batch.entries.length,
        bytes: batch.bytes,
        customIds: batch.entries.map(({ customId }) => customId),
        metadata: batch.metadata,
        status: statusOf(batch)
      })),
    handle: (request, response) => {
      if (!ROUTE.test(new URL(request.url ?? "/", "http://localhost").pathname)) return false
      const chunks: Array<Buffer> = []
      request.on("data", (chunk: Buffer) => chunks.push(chunk))
      request.on("end", () => {
        respond(request, Buffer.concat(chunks), response).catch((error: unknown) => {
          response.writeHead(400, { "content-type": "application/json" })
          response.end(
            JSON.stringify({
              error: { type: "invalid_request_error", message: String(error), code: null, param: null }
            })
          )
        })
      })
      return true
    }
  }
}

/** What becomes of a request; `own` depends on the request alone, `chance` on its batch too. */
const fateOf = (options: BatchOptions, chance: (kind: string) => number, own: (kind: string) => number): Fate => {
  if (own("refused") < (options.errors ?? 0)) return "refused"
  if (chance("failed") < (options.serverErrors ?? 0)) return "failed"
  if (chance("expired") < (options.expired ?? 0)) return "expired"
  return chance("missing") < (options.missing ?? 0) ? undefined : "answered"
}

const errorOf = (fate: "refused" | "failed") =>
  fate === "refused"
    ? ([400, "invalid_request_error", "the simulator refused this request"] as const)
    : ([500, "server_error", "simulated server error"] as const)

const fileObject = (file: File) => ({
  id: file.id,
  object: "file",
  bytes: file.content.length,
  created_at: Math.floor(file.createdAt / 1_000),
  filename: file.filename,
  purpose: file.purpose,
  status: "processed"
})

type Read = Pick<Batch, "wire" | "endpoint" | "input" | "bytes" | "entries" | "metadata"> | string

const LIMITS = { openai: [50_000, 200e6], anthropic: [100_000, 256e6] } as const

const ID = /^[A-Za-z0-9_-]{1,64}$/

/** What is wrong with a batch as a whole. */
const check = (wire: Batch["wire"], entries: ReadonlyArray<Entry>, bytes: number): string | undefined => {
  const [most, size] = LIMITS[wire]
  const ids = new Set(entries.map(({ customId }) => customId))
  return entries.length > most
    ? `a batch has at most ${most} requests; this one has ${entries.length}`
    : bytes > size
      ? `a batch has at most ${size} bytes; this one has ${bytes}`
      : ids.size < entries.length
        ? "custom_id must be unique"
        : [...ids].some((id) => !ID.test(id))
          ? "custom_id must have 1 to 64 letters, digits, dashes or underscores"
          : new Set(entries.map(({ body }) => body["model"])).size > 1 && wire === "openai"
            ? "a batch has requests of one model"
            : undefined
}

const readOpenAi = (given: Json, files: ReadonlyMap<string, File>): Read => {
  const file = files.get(String(given["input_file_id"]))
  if (file === undefined) return "input_file_id: no such file"
  const endpoint = String(given["endpoint"])
  const entries = file.content
    .toString("utf8")
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line): Entry => {
      const { body, custom_id, url } = JSON.parse(line) as Json
      return { customId: String(custom_id), endpoint: String(url), body: body as Json }
    })
  const wrong =
    check("openai", entries, file.content.length)
    ?? (entries.some((entry) => entry.endpoint !== endpoint)
      ? "the url of each request must be the endpoint of the batch"
      : undefined)
  return (
    wrong ?? {
      wire: "openai",
      endpoint,
      input: file.id,
      bytes: file.content.length,
      entries,
      metadata: (given["metadata"] ?? {}) as { readonly [name: string]: string }
    }
  )
}

const readAnthropic = (given: Json, bytes: number): Read => {
  if (!Array.isArray(given["requests"])) return "requests is missing"
  const entries = given["requests"].map(({ custom_id, params }: Json): Entry => ({
    customId: String(custom_id),
    endpoint: "/v1/messages",
    body: params as Json
  }))
  return (
    check("anthropic", entries, bytes) ?? {
      wire: "anthropic",
      endpoint: "/v1/messages",
      input: "",
      bytes,
      entries,
      metadata: {}
    }
  )
}
