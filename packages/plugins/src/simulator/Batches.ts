/**
 * The simulator's files and batches: OpenAI's and Anthropic's, with the faults of batches.
 *
 * @internal
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import * as BatchInput from "./BatchInput.ts"
import * as BatchObjects from "./BatchObjects.ts"
import * as BatchResults from "./BatchResults.ts"
import * as BatchState from "./BatchState.ts"
import type { Engine } from "./Engine.ts"
import type { BatchStage, CreatedBatch, Options } from "./Options.ts"
import type { WireJson } from "./Wire.ts"

export interface SimulatedBatches {
  /** Handles a request; returns whether it concerned files or batches. */
  readonly handle: (request: IncomingMessage, response: ServerResponse) => boolean
  readonly log: () => ReadonlyArray<CreatedBatch>
  /** Ends the running batches, whatever their latency. */
  readonly end: () => void
}

const ROUTE = /^\/v1\/(files|batches|messages\/batches)(?:\/([^/]+))?(?:\/([^/]+))?$/

/** A request for files or batches, and how to answer it. */
interface Exchange {
  readonly state: BatchState.SimulatedBatchState
  readonly request: IncomingMessage
  readonly body: Buffer
  readonly response: ServerResponse
  readonly id: string | undefined
  readonly action: string | undefined
  readonly query: URLSearchParams
  readonly isAnthropic: boolean
}

export const make = ({ batches: options = {} }: Options, engine: Engine): SimulatedBatches => {
  const state = BatchState.make(options, engine)
  return {
    end: () => {
      for (const batch of state.batches.values()) batch.endsAt = Math.min(batch.endsAt, Date.now())
    },
    log: () =>
      Array.from(state.batches.values(), (batch) => ({
        id: batch.id,
        wire: batch.wire,
        endpoint: batch.endpoint,
        requests: batch.entries.length,
        bytes: batch.bytes,
        customIds: batch.entries.map(({ customId }) => customId),
        metadata: batch.metadata,
        status: BatchObjects.statusOf(state, batch)
      })),
    handle: (request, response) => {
      const { pathname, searchParams } = new URL(request.url ?? "/", "http://localhost")
      const [, kind, id, action] = ROUTE.exec(pathname) ?? []
      if (kind === undefined) return false
      const chunks: Array<Buffer> = []
      request.on("data", (chunk: Buffer) => chunks.push(chunk))
      request.on("end", () => {
        const body = Buffer.concat(chunks)
        const isAnthropic = kind === "messages/batches"
        const exchange = { state, request, body, response, id, action, query: searchParams, isAnthropic }
        const answered = kind === "files" ? answerFiles(exchange) : answerBatches(exchange)
        answered.catch((failure: unknown) => error(exchange, 400, "invalid_request_error", String(failure)))
      })
      return true
    }
  }
}

const json = ({ response }: Exchange, status: number, value: unknown): void => {
  response.writeHead(status, { "content-type": "application/json" })
  response.end(JSON.stringify(value))
}

const error = (exchange: Exchange, status: number, type: string, message: string): void =>
  json(
    exchange,
    status,
    exchange.isAnthropic
      ? { type: "error", error: { type, message } }
      : { error: { type, message, code: null, param: null } }
  )

const stage = ({ state }: Exchange, name: BatchStage): void => state.options.onStage?.(name)

const download = (exchange: Exchange, text: string): void => {
  const { response, state } = exchange
  const bytes = Buffer.from(text)
  stage(exchange, "downloading")
  response.writeHead(200, { "content-type": "application/octet-stream", "content-length": bytes.length })
  if (!state.take("cutDownloads")) return void response.end(bytes, () => stage(exchange, "downloaded"))
  response.write(bytes.subarray(0, bytes.length / 2))
  setTimeout(() => response.destroy(), 20)
}

/** OpenAI's files: uploads, and the results of batches. */
const answerFiles = async (exchange: Exchange): Promise<void> => {
  const { action, id, request, state } = exchange
  const { batches, files } = state
  if (request.method === "POST") return upload(exchange)
  if (id === undefined) {
    const data = [...files.values()].reverse().map(BatchObjects.file)
    return json(exchange, 200, { object: "list", data, has_more: false })
  }
  if (request.method === "DELETE" && files.delete(id)) return json(exchange, 200, { id, object: "file", deleted: true })
  const [, name, which] = /^(.*)-(output|errors)$/.exec(id) ?? []
  const batch = action !== "content" || name === undefined ? undefined : batches.get(name)
  return batch === undefined
    ? error(exchange, 404, "invalid_request_error", `No such File object: ${id}`)
    : download(exchange, BatchResults.of(state, batch)[which as "output" | "errors"])
}

const upload = async (exchange: Exchange): Promise<void> => {
  const { body, request, state } = exchange
  stage(exchange, "uploading")
  if (state.take("failedUploads")) return error(exchange, 500, "server_error", "the upload failed")
  const headers = { "content-type": request.headers["content-type"] ?? "" }
  const form = await new Response(new Uint8Array(body), { headers }).formData()
  const part = form.get("file")
  if (part === null || typeof part === "string") return error(exchange, 400, "invalid_request_error", "file is missing")
  const file: BatchState.SimulatedFile = {
    id: state.nextId("file"),
    filename: part.name,
    purpose: String(form.get("purpose")),
    createdAt: Date.now(),
    content: Buffer.from(await part.arrayBuffer())
  }
  state.files.set(file.id, file)
  stage(exchange, "uploaded")
  json(exchange, 200, BatchObjects.file(file))
}

/** A batch as its API represents it. */
const shown = ({ isAnthropic, request, state }: Exchange, batch: BatchState.SimulatedBatch) =>
  isAnthropic ? BatchObjects.anthropic(state, batch, request.headers.host ?? "") : BatchObjects.openAi(state, batch)

/** The batches of both APIs. */
const answerBatches = async (exchange: Exchange): Promise<void> => {
  const { action, id, isAnthropic, request, state } = exchange
  if (id === undefined) return request.method === "GET" ? list(exchange) : create(exchange)
  const batch = state.batches.get(id)
  if (batch === undefined || batch.wire !== (isAnthropic ? "anthropic" : "openai")) {
    const type = isAnthropic ? "not_found_error" : "invalid_request_error"
    return error(exchange, 404, type, `No batch found with id '${id}'.`)
  }
  switch (action) {
    case "cancel":
      if (!BatchState.isOver(batch)) batch.cancelledAt = Date.now()
      return json(exchange, 200, shown(exchange, batch))
    case "results":
      return download(exchange, BatchResults.of(state, batch).output)
    default:
      stage(exchange, "polled")
      return json(exchange, 200, shown(exchange, batch))
  }
}

const list = (exchange: Exchange): void => {
  const { isAnthropic, query, state } = exchange
  const { data, has_more } = BatchObjects.page(state, isAnthropic ? "anthropic" : "openai", query)
  json(exchange, 200, {
    object: "list",
    data: data.map((batch) => shown(exchange, batch)),
    has_more,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null
  })
}

const create = (exchange: Exchange): void => {
  const { body, isAnthropic, response, state } = exchange
  stage(exchange, "creating")
  const given = JSON.parse(body.toString("utf8")) as WireJson
  const made = isAnthropic ? BatchInput.anthropic(given, body.length) : BatchInput.openAi(given, state.files)
  if (typeof made === "string") return error(exchange, 400, "invalid_request_error", made)
  const batch = BatchState.create(state, made)
  stage(exchange, "created")
  if (state.take("lostCreations")) response.destroy()
  else json(exchange, 200, shown(exchange, batch))
}
