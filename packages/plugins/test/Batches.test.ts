/** The batch APIs on the wire, with the answers that users of other tools reported. */
import { LLMock } from "@copilotkit/aimock"
import { assert, describe, it } from "@effect/vitest"
import {
  type BatchProvider,
  Flow,
  Ledger,
  ModelClient,
  ModelRequest,
  Retry,
  Router,
  Runner,
  Sink,
  Source,
  Stack
} from "@pipe/core"
import { Anthropic, NodeHost, OpenAi, Simulator } from "@pipe/plugins"
import { type Duration, Effect, Layer, Stream } from "effect"
import { LanguageModel } from "effect/ai"
import { createServer } from "node:http"
import { mkdtempSync } from "node:fs"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { gzipSync } from "node:zlib"
import { join } from "node:path"
import * as BatchRun from "./BatchRun.ts"

const answer = (text: string) => ({
  status_code: 200,
  request_id: "req",
  body: {
    id: "chatcmpl-1",
    object: "chat.completion",
    model: "gpt-4o-mini",
    choices: [{ index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" }],
    usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 }
  }
})

const refusal = (status_code: number, message: string, fields: object = {}) => ({
  status_code,
  request_id: "req",
  body: { error: { message, type: "invalid_request_error", param: null, code: null, ...fields } }
})

/** What becomes of the requests of one batch, by its number. */
type Script = (
  batch: number,
  ids: ReadonlyArray<string>
) => {
  readonly status: string
  readonly output?: ReadonlyArray<object>
  readonly errors?: ReadonlyArray<object>
  /** As the API gives the ids of missing files. */
  readonly missingFile?: null | "" | undefined
  /** Lines that are in the output file as they are. */
  readonly raw?: ReadonlyArray<string>
  readonly counts?: object | null
  /** What the batch was rejected for. */
  readonly rejection?: ReadonlyArray<object>
  /** The files are there after this many polls. */
  readonly late?: number
  /** Bytes of the output file that the first download gives. */
  readonly cut?: number
}

/** A server that speaks OpenAI's files and batches, and gives what a script says. */
const scripted = (
  script: Script,
  options: {
    readonly loseCreations?: number
    readonly keepsMetadata?: false
    /** How often files that are there are said not to be. */
    readonly lateFiles?: number
    readonly failedUploads?: number
    /** Every answer is compressed. */
    readonly isPacked?: true
  } = {}
) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const seen: Array<string> = []
      const files = new Map<string, string>()
      const batches: Array<Record<string, unknown>> = []
      const cuts = new Map<string, number>()
      let lost = 0
      let failedUploads = options.failedUploads ?? 0
      const lateFiles = { creation: options.lateFiles ?? 0, content: options.lateFiles ?? 0 }
      const sent: Array<ReadonlyArray<string>> = []
      const server = createServer((request, response) => {
        const chunks: Array<Buffer> = []
        request.on("data", (chunk: Buffer) => chunks.push(chunk))
        request.on("end", async () => {
          const path = new URL(request.url!, "http://x").pathname
          const body = Buffer.concat(chunks)
          seen.push(`${request.method} ${path}`)
          const packed = (text: string) => (options.isPacked === true ? gzipSync(text) : text)
          const encoding = options.isPacked === true ? { "content-encoding": "gzip" } : undefined
          const json = (value: unknown, status = 200) => {
            response.writeHead(status, { "content-type": "application/json", ...encoding })
            response.end(packed(JSON.stringify(value)))
          }
          if (path === "/v1/files" && request.method === "POST") {
            if (failedUploads-- > 0) return json({ error: { message: "down" } }, 500)
            const form = await new Response(new Uint8Array(body), {
              headers: { "content-type": request.headers["content-type"]! }
            }).formData()
            const id = `file-${files.size}`
            files.set(id, await (form.get("file") as File).text())
            return json({ id, object: "file" })
          }
          if (request.method === "DELETE" && files.delete(path.slice("/v1/files/".length)))
            return json({ deleted: true })
          const content = /^\/v1\/files\/(.*)\/content$/.exec(path)
          if (content !== null) {
            if (lateFiles.content-- > 0) return json({ error: { message: "No such File object" } }, 404)
            const text = files.get(content[1]!)
            if (text === undefined) return json({ error: { message: "No such File object" } }, 404)
            const cut = cuts.get(content[1]!)
            cuts.delete(content[1]!)
            return response.writeHead(200, { ...encoding }).end(packed(text.slice(0, cut)))
          }
          if (path === "/v1/batches" && request.method === "POST") {
            if (lateFiles.creation-- > 0) {
              return json(
                { error: { message: "Cannot find file with the given id", type: "invalid_request_error" } },
                400
              )
            }
            const given = JSON.parse(body.toString()) as { readonly input_file_id: string; readonly metadata: object }
            const ids = files
              .get(given.input_file_id)!
              .trim()
              .split("\n")
              .map((line) => (JSON.parse(line) as { readonly custom_id: string }).custom_id)
            const number = batches.length
            sent.push(ids)
            const {
              counts,
              cut,
              errors,
              late = 0,
              missingFile,
              output,
              raw = [],
              rejection,
              status
            } = script(number, ids)
            const file = (name: string, lines: ReadonlyArray<object> | undefined) => {
              if (lines === undefined) return missingFile
              const all = [...lines.map((line) => JSON.stringify(line)), ...(name === "output" ? raw : [])]
              files.set(`${name}-${number}`, all.map((line) => `${line}\n`).join(""))
              if (cut !== undefined) cuts.set(`${name}-${number}`, cut)
              return `${name}-${number}`
            }
            batches.push({
              id: `b${number}`,
              object: "batch",
              status: "in_progress",
              final: status,
              metadata: options.keepsMetadata === false ? null : given.metadata,
              input_file_id: given.input_file_id,
              late,
              errors: rejection === undefined ? null : { object: "list", data: rejection },
              created_at: Math.floor(Date.now() / 1_000),
              output_file_id: file("output", output),
              error_file_id: file("errors", errors),
              request_counts: counts === undefined ? { total: ids.length, completed: 0, failed: 0 } : counts
            })
            if (lost++ < (options.loseCreations ?? 0)) return response.destroy()
            return json({ ...batches.at(-1), output_file_id: null, error_file_id: null })
          }
          if (path === "/v1/batches") return json({ object: "list", data: [...batches].reverse(), has_more: false })
          const batch = batches.find(({ id }) => path === `/v1/batches/${id}`)
          if (batch === undefined) return json({ error: { message: "not found" } }, 404)
          const isLate = (batch["late"] as number) > 0
          if (isLate) batch["late"] = (batch["late"] as number) - 1
          return json({
            ...batch,
            ...(isLate ? { output_file_id: null, error_file_id: null } : undefined),
            status: batch["final"]
          })
        })
      })
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, seen, sent, server }
    }),
    ({ server }) =>
      Effect.sync(() => {
        server.closeAllConnections()
        server.close()
      })
  )

const run = (
  url: string,
  n: number,
  { api = "chat", ...options }: BatchRun.Options & { readonly api?: "chat" | "responses" } = {}
) => BatchRun.run(OpenAi.layer({ model: "gpt-4o-mini", baseUrl: url, apiKey: "k", api }), n, options)

describe("odd results", () => {
  const good = (ids: ReadonlyArray<string>) =>
    ids.map((custom_id) => ({ custom_id, response: answer("good"), error: null }))

  const odd = [
    "null",
    "{}",
    "5",
    "[]",
    '"text"',
    "{",
    "",
    '{"custom_id":5}',
    '{"custom_id":null,"response":{}}',
    '{"custom_id":"other-1","response":{}}'
  ]
  for (const line of odd) {
    it.live(`beside all answers take none of them: ${JSON.stringify(line)}`, () =>
      Effect.gen(function* () {
        const server = yield* scripted((_, ids) => ({
          status: "completed",
          output: good(ids),
          raw: [line],
          counts: { total: ids.length, completed: ids.length, failed: 0 }
        }))
        const { failed, out, summary } = yield* run(server.url, 3)
        assert.deepStrictEqual(failed, [])
        assert.deepStrictEqual(out, ["r1: good", "r2: good", "r3: good"])
        assert.strictEqual(summary.status, "done")
        assert.strictEqual(server.sent.length, 1)
      })
    )
  }

  for (const [name, line] of [
    ["expired", { response: null, error: { code: "batch_expired", message: "expired" } }],
    ["failed", { response: refusal(500, "down"), error: null }],
    ["damaged", { response: { status_code: 200, request_id: "r", body: {} }, error: null }]
  ] as const) {
    it.live(`before an answer to the same request give way to it: ${name}`, () =>
      Effect.gen(function* () {
        const server = yield* scripted((_, ids) => ({
          status: "completed",
          output: [{ custom_id: ids[0], ...line }, ...good(ids)],
          counts: { total: ids.length, completed: ids.length, failed: 0 }
        }))
        const { failed, out, summary } = yield* run(server.url, 3)
        assert.deepStrictEqual(failed, [])
        assert.deepStrictEqual(out, ["r1: good", "r2: good", "r3: good"])
        assert.strictEqual(server.sent.length, 1)
        assert.strictEqual(summary.cost, 3n * (10n * 75_000n + 5n * 300_000n))
      })
    )
  }

  for (const [name, body] of [
    ["no body", null],
    ["a body that is none", 5],
    ["no choices", { object: "chat.completion", model: "gpt-4o-mini" }],
    ["content of another kind", { ...answer("x").body, choices: [{ message: { content: 5 } }] }]
  ] as const) {
    it.live(`fail their own row, which is billed and not sent again: ${name}`, () =>
      Effect.gen(function* () {
        const server = yield* scripted((_, ids) => ({
          status: "completed",
          output: [
            ...good(ids.slice(1)),
            { custom_id: ids[0], response: { status_code: 200, request_id: "r", body }, error: null }
          ],
          counts: { total: ids.length, completed: ids.length, failed: 0 }
        }))
        const { failed, out, summary } = yield* run(server.url, 3)
        assert.deepStrictEqual(out, ["r2: good", "r3: good"])
        assert.strictEqual(failed.length, 1)
        assert.strictEqual(server.sent.length, 1)
        // gpt-4o-mini in a batch: 0.075 and 0.30 USD per million tokens, 10 and 5 tokens each.
        const each = 10n * 75_000n + 5n * 300_000n
        // What has a count costs that, also where it is no answer.
        const isCounted = typeof body === "object" && body !== null && "usage" in body
        assert.strictEqual(summary.estimatedCalls, isCounted ? 0 : 1)
        if (isCounted) assert.strictEqual(summary.cost, 3n * each)
        else {
          assert.strictEqual(summary.cost - summary.estimatedCost, 2n * each)
          assert.isTrue(summary.estimatedCost >= each)
        }
      })
    )
  }

  it.live("that refuse a limit that a budget has set are sent again with one that the model takes", () =>
    Effect.gen(function* () {
      const words = "max_tokens is too large: 4096. This model supports at most 2048 completion tokens"
      const server = yield* scripted((batch, ids) => ({
        status: "completed",
        output:
          batch === 0 ? ids.map((custom_id) => ({ custom_id, response: refusal(400, words), error: null })) : good(ids)
      }))
      const { failed, out, summary } = yield* run(server.url, 3, { budget: { usd: "1" } })
      assert.deepStrictEqual(failed, [])
      assert.deepStrictEqual(out, ["r1: good", "r2: good", "r3: good"])
      assert.strictEqual(server.sent.length, 2)
      assert.strictEqual(summary.cost, 3n * (10n * 75_000n + 5n * 300_000n))
    })
  )

  it.live("in the place of an answer fail the row that it was for, after a second look", () =>
    Effect.gen(function* () {
      const server = yield* scripted((_, ids) => ({
        status: "completed",
        output: good(ids.slice(1)),
        raw: ["not an answer"],
        counts: { total: ids.length, completed: ids.length, failed: 0 }
      }))
      const { failed, out } = yield* run(server.url, 3)
      assert.deepStrictEqual(out, ["r2: good", "r3: good"])
      assert.strictEqual(failed.length, 1)
      assert.match(failed[0]!, /cannot be read: line 3 of its results\. It is paid/)
      assert.strictEqual(server.sent.length, 1)
    })
  )

  it.live("that come later than the status, and files that end early, are waited for", () =>
    Effect.gen(function* () {
      for (const fault of [{ late: 3 }, { cut: 40 }, { cut: 0 }, { late: 2, counts: null }]) {
        const server = yield* scripted((_, ids) => ({
          status: "completed",
          output: good(ids),
          counts: { total: ids.length, completed: ids.length, failed: 0 },
          ...fault
        }))
        const { failed, out, summary } = yield* run(server.url, 3)
        assert.deepStrictEqual([failed, out.length, summary.status], [[], 3, "done"], JSON.stringify(fault))
        assert.strictEqual(server.sent.length, 1, JSON.stringify(fault))
        assert.strictEqual(summary.cost, 3n * (10n * 75_000n + 5n * 300_000n))
      }
    })
  )

  it.live("that the provider counts and never gives stop the run in words, and nothing is sent again", () =>
    Effect.gen(function* () {
      const server = yield* scripted((_, ids) => ({
        status: "completed",
        output: good(ids.slice(0, 1)),
        counts: { total: ids.length, completed: ids.length, failed: 0 }
      }))
      const first = yield* run(server.url, 3)
      assert.match(
        String(first.failure?.message),
        /counts 2 answers that its results do not contain\. .*pipe batches collect pb-\S+.*pipe batches forget pb-/
      )
      const again = yield* run(server.url, 3, { resume: first.summary.run, store: first.store })
      assert.include(String(again.failure?.message), "counts 2 answers")
      assert.strictEqual(server.sent.length, 1)
    })
  )

  it.live("of a batch whose creation was lost are found by its file, where no metadata are kept", () =>
    Effect.gen(function* () {
      const server = yield* scripted(
        (_, ids) => ({
          status: "completed",
          output: good(ids),
          counts: { total: ids.length, completed: ids.length, failed: 0 }
        }),
        { loseCreations: 1, keepsMetadata: false }
      )
      const { out } = yield* run(server.url, 3)
      assert.strictEqual(out.length, 3)
      assert.strictEqual(server.sent.length, 1)
    })
  )
})

describe("results of OpenAI's batches", () => {
  for (const missingFile of [null, "", undefined] as const) {
    it.live(
      `all failed, and the output file is ${JSON.stringify(missingFile) ?? "left out"}: each row ends with the provider's words (bapi-01)`,
      () =>
        Effect.gen(function* () {
          const server = yield* scripted((batch, ids) =>
            batch === 0
              ? {
                  status: "completed",
                  missingFile,
                  errors: [{ custom_id: ids[0], response: refusal(400, "bad schema"), error: null }]
                }
              : {
                  status: "completed",
                  missingFile,
                  output: ids.map((custom_id) => ({ custom_id, response: answer("late"), error: null }))
                }
          )
          const { failed, out, summary } = yield* run(server.url, 2)
          assert.strictEqual(failed.length, 1)
          assert.match(failed[0]!, /400 bad schema/)
          assert.deepStrictEqual(out, ["r2: late"])
          assert.strictEqual(summary.rows.failed, 1)
          assert.deepStrictEqual(
            server.sent.map((ids) => ids.length),
            [2, 1]
          )
          assert.isFalse(
            server.seen.some((path) => /files\/(?:null|undefined)?\/content/.test(path)),
            "the id of a missing file was asked for"
          )
        })
    )
  }

  it.live("expired: what was answered is kept, only the rest is sent again (bapi-02)", () =>
    Effect.gen(function* () {
      const server = yield* scripted((batch, ids) =>
        batch === 0
          ? {
              status: "expired",
              output: ids.slice(0, 2).map((custom_id) => ({ custom_id, response: answer("first"), error: null })),
              errors: [
                {
                  custom_id: ids[2],
                  response: null,
                  error: {
                    code: "batch_expired",
                    message: "This request could not be executed before the completion window expired."
                  }
                }
              ]
            }
          : {
              status: "completed",
              output: ids.map((custom_id) => ({ custom_id, response: answer("second"), error: null }))
            }
      )
      const { out, summary } = yield* run(server.url, 4)
      assert.deepStrictEqual(out, ["r1: first", "r2: first", "r3: second", "r4: second"])
      assert.deepStrictEqual(
        server.sent.map((ids) => ids.length),
        [4, 2]
      )
      // 10 tokens in at 0.075 and 5 out at 0.30 USD per million, four times.
      assert.strictEqual(summary.cost, 4n * (10n * 75_000n + 5n * 300_000n))
    })
  )

  it.live(
    "out of credit in the middle: the run stops with one message, and a resume sends only what failed (bapi-04)",
    () =>
      Effect.gen(function* () {
        const server = yield* scripted((batch, ids) =>
          batch === 0
            ? {
                status: "completed",
                output: ids.slice(0, 64).map((custom_id) => ({ custom_id, response: answer("ok"), error: null })),
                errors: ids.slice(64).map((custom_id) => ({
                  custom_id,
                  response: refusal(429, "You exceeded your current quota", {
                    code: "insufficient_quota",
                    type: "insufficient_quota"
                  }),
                  error: null
                }))
              }
            : {
                status: "completed",
                output: ids.map((custom_id) => ({ custom_id, response: answer("ok"), error: null }))
              }
        )
        const stopped = yield* run(server.url, 80)
        assert.strictEqual(stopped.summary.status, "failed")
        assert.match(stopped.failure?.message ?? "", /You exceeded your current quota.*add credit/)
        assert.strictEqual(stopped.summary.calls.attempts, 80)
        assert.strictEqual(stopped.summary.calls.failedAttempts, 16)
        const resumed = yield* run(server.url, 80, { store: stopped.store, resume: stopped.summary.run })
        assert.strictEqual(resumed.out.length, 80)
        assert.deepStrictEqual(
          server.sent.map((ids) => ids.length),
          [80, 16]
        )
      })
  )

  it.live("in any order, twice, missing and of nobody: matched by id, warned of, never by place (bapi-08)", () =>
    Effect.gen(function* () {
      const server = yield* scripted((batch, ids) =>
        batch === 0
          ? {
              status: "completed",
              output: [
                { custom_id: ids[2], response: answer("three"), error: null },
                { custom_id: ids[0], response: answer("one"), error: null },
                { custom_id: ids[0], response: answer("one again"), error: null },
                { custom_id: "zz", response: answer("nobody"), error: null }
              ]
            }
          : {
              status: "completed",
              output: ids.map((custom_id) => ({ custom_id, response: answer("two"), error: null }))
            }
      )
      const { out, summary, warnings } = yield* run(server.url, 3)
      assert.deepStrictEqual(out, ["r1: one", "r2: two", "r3: three"])
      assert.isTrue(
        warnings.some((warning) => /more than one result for: pb-\S+-0$/.test(warning)),
        warnings.join("\n")
      )
      assert.isTrue(warnings.some((warning) => warning.endsWith("ids that it has not sent: zz")))
      assert.strictEqual(summary.calls.attempts, 3)
    })
  )

  it.live("an empty error file's id is no id, and a finished batch read twice gives the same (bapi-13)", () =>
    Effect.gen(function* () {
      const server = yield* scripted((_, ids) => ({
        status: "completed",
        missingFile: "",
        output: ids.map((custom_id) => ({ custom_id, response: answer("ok"), error: null }))
      }))
      const { out } = yield* run(server.url, 2)
      assert.deepStrictEqual(out, ["r1: ok", "r2: ok"])
      assert.deepStrictEqual(
        server.seen.filter((path) => path.includes("/content")),
        ["GET /v1/files/output-0/content"]
      )
      const provider = yield* providerOf(OpenAi.layer({ model: "gpt-4o-mini", baseUrl: server.url, apiKey: "k" }))
      const read = () =>
        Effect.flatMap(provider.status("b0"), (status) => Stream.runCollect(provider.results(status!, "gpt-4o-mini")))
      const first = yield* read()
      assert.strictEqual(first.length, 2)
      assert.deepStrictEqual(yield* read(), first)
    })
  )
})

const providerOf = (layer: Layer.Layer<ModelClient.ModelClient, unknown, never> | ReturnType<typeof OpenAi.layer>) =>
  Effect.scoped(
    Effect.map(
      Effect.provide(Layer.build(layer as ReturnType<typeof OpenAi.layer>), NodeHost.layerMemory),
      (context): BatchProvider.BatchProvider => {
        const client = Effect.runSync(Effect.provideContext(ModelClient.ModelClient, context))
        return client.batch!.all[0]!
      }
    )
  )

describe("a batch that failed", () => {
  it.live("gives the answers that it has: they are paid", () =>
    Effect.gen(function* () {
      const server = yield* scripted((batch, ids) => ({
        status: batch === 0 ? "failed" : "completed",
        output: ids
          .slice(0, batch === 0 ? 2 : undefined)
          .map((custom_id) => ({ custom_id, response: answer("good"), error: null })),
        counts: { total: ids.length, completed: batch === 0 ? 2 : ids.length, failed: 0 }
      }))
      const { failed, out, summary } = yield* run(server.url, 3)
      assert.deepStrictEqual([failed, out.length], [[], 3])
      assert.deepStrictEqual(
        server.sent.map(({ length }) => length),
        [3, 1]
      )
      assert.strictEqual(summary.cost, 3n * (10n * 75_000n + 5n * 300_000n))
    })
  )
})

describe("an answer in a batch", () => {
  const one = (body: unknown, options: Parameters<typeof run>[2] = {}) =>
    Effect.gen(function* () {
      const server = yield* scripted((_, ids) => ({
        status: "completed",
        output: ids.map((custom_id) => ({
          custom_id,
          response: { status_code: 200, request_id: "r", body },
          error: null
        })),
        counts: { total: ids.length, completed: ids.length, failed: 0 }
      }))
      return { ...(yield* run(server.url, 1, options)), server }
    })
  const response = (fields: object) => ({
    id: "resp_1",
    object: "response",
    created_at: 0,
    status: "completed",
    model: "gpt-4o-mini",
    output: [
      {
        id: "m",
        type: "message",
        role: "assistant",
        status: "completed",
        content: [{ type: "output_text", text: "hi", annotations: [] }]
      }
    ],
    usage: { input_tokens: 1_000, output_tokens: 100, total_tokens: 1_100 },
    ...fields
  })

  it.live("cost-01-n3: is priced with its web searches", () =>
    Effect.gen(function* () {
      const searched = response({
        output: [
          { id: "ws", type: "web_search_call", status: "completed", action: { type: "search", query: "x" } },
          ...response({}).output
        ]
      })
      const { out, summary } = yield* one(searched, { api: "responses" })
      assert.deepStrictEqual(out, ["r1: hi"])
      // gpt-4o-mini in a batch: 0.075 and 0.30 USD per million tokens; a search is 0.01 USD (platform.openai.com/docs/pricing).
      assert.strictEqual(summary.cost, 1_000n * 75_000n + 100n * 300_000n + 10_000_000_000n)
    })
  )

  it.live("cost-05-n6: is of unknown size where its usage says nothing, and never free", () =>
    Effect.gen(function* () {
      const { out, summary } = yield* one({ ...answer("hi").body, usage: {} })
      assert.deepStrictEqual(out, ["r1: hi"])
      assert.strictEqual(summary.estimatedCalls, 1)
      assert.isTrue(summary.cost > 0n)
    })
  )

  for (const status of ["failed", "cancelled", "in_progress"]) {
    it.live(`wire-02-n2: is a failure where its status is ${status}, and is billed`, () =>
      Effect.gen(function* () {
        const { failed, out, summary } = yield* one(
          response({ status, output: [], error: { code: "server_error", message: "the model broke down" } }),
          { api: "responses" }
        )
        assert.deepStrictEqual(out, [])
        assert.strictEqual(failed.length, 1)
        if (status === "failed") assert.include(failed[0]!, "the model broke down")
        assert.strictEqual(summary.cost, 1_000n * 75_000n + 100n * 300_000n)
      })
    )
  }

  it.live("wire-01: is read where its content comes in parts", () =>
    Effect.gen(function* () {
      const parts = [
        { type: "thinking", thinking: [{ type: "text", text: "hm" }] },
        { type: "text", text: "hi" }
      ]
      const { out } = yield* one({
        ...answer("").body,
        choices: [{ index: 0, message: { role: "assistant", content: parts }, finish_reason: "stop" }]
      })
      assert.deepStrictEqual(out, ["r1: hi"])
    })
  )

  it.live("wire-09-n2: of a reasoning model is limited by the name that such models take", () =>
    Effect.gen(function* () {
      const provider = yield* providerOf(
        OpenAi.layer({ model: "gpt-5-mini", baseUrl: "http://127.0.0.1:1/v1", apiKey: "k" })
      )
      const line = yield* provider.encode(
        "a-1",
        ModelRequest.completion({
          model: "gpt-5-mini",
          messages: [{ role: "user", content: "x" }],
          settings: { maxTokens: 500 }
        })
      )
      assert.include(line!.text, '"max_completion_tokens":500')
      assert.notInclude(line!.text, '"max_tokens"')
    })
  )

  for (const status of ["COMPLETED", "Succeeded", "JOB_STATE_SUCCEEDED", "TIMEOUT_EXCEEDED", "what nobody knows"]) {
    it.live(`is taken in where the batch's status is ${status}`, () =>
      Effect.gen(function* () {
        const server = yield* scripted((_, ids) => ({
          status,
          output: ids.map((custom_id) => ({ custom_id, response: answer("good"), error: null }))
        }))
        const { failed, out } = yield* run(server.url, 2)
        assert.deepStrictEqual([failed, out], [[], ["r1: good", "r2: good"]])
        assert.strictEqual(server.sent.length, 1)
      })
    )
  }
})

describe("a line of a batch", () => {
  const good = (custom_id: string) => ({ custom_id, response: answer("good"), error: null })
  const withLine = (line: object, isPacked?: true) =>
    Effect.gen(function* () {
      const server = yield* scripted(
        (_, ids) => ({
          status: "completed",
          output: [{ custom_id: ids[0], ...line }, ...ids.slice(1).map(good)],
          counts: { total: ids.length, completed: ids.length, failed: 0 }
        }),
        isPacked === true ? { isPacked } : {}
      )
      return { ...(yield* run(server.url, 3)), server }
    })

  it.live("wire-05: is read where the service compresses what it sends", () =>
    Effect.gen(function* () {
      const { out } = yield* withLine({ response: answer("good"), error: null }, true)
      assert.deepStrictEqual(out, ["r1: good", "r2: good", "r3: good"])
    })
  )

  const refusals: ReadonlyArray<readonly [body: unknown, says: string]> = [
    [{ detail: "odd words" }, "odd words"],
    [[{ error: { message: "odd words" } }], "odd words"],
    [{ object: "error", message: "odd words" }, "odd words"],
    [{ error: "odd words" }, "odd words"],
    ["odd words", "odd words"]
  ]
  for (const [body, says] of refusals) {
    it.live(`wire-06: keeps the words of a refusal: ${JSON.stringify(body)}`, () =>
      Effect.gen(function* () {
        const { failed, server } = yield* withLine({
          response: { status_code: 400, request_id: "r", body },
          error: null
        })
        assert.strictEqual(failed.length, 1)
        assert.include(failed[0]!, says)
        assert.strictEqual(server.sent.length, 1)
      })
    )
  }

  for (const line of [{ response: null, error: null }, { error: null }, {}]) {
    it.live(`F1: fails, and is not sent and paid again, where it has no response: ${JSON.stringify(line)}`, () =>
      Effect.gen(function* () {
        const { failed, server, summary } = yield* withLine(line)
        assert.strictEqual(failed.length, 1)
        assert.strictEqual(server.sent.length, 1)
        // The provider counts three answers: the ledger has two of them, and a bound for the third.
        assert.strictEqual(summary.estimatedCalls, 1)
        assert.isTrue(summary.estimatedCost > 0n)
      })
    )
  }

  it.live("wire-03: costs nothing where it is an error with status 200 that nobody bills", () =>
    Effect.gen(function* () {
      const body = { error: { message: "no such model", code: 404 } }
      const { failed, summary } = yield* withLine({
        response: { status_code: 200, request_id: "r", body },
        error: null
      })
      assert.include(failed[0]!, "no such model")
      assert.strictEqual(summary.estimatedCalls, 0)
      assert.strictEqual(summary.cost, 2n * (10n * 75_000n + 5n * 300_000n))
    })
  )
})

describe("the files of a batch", () => {
  const all = (_: number, ids: ReadonlyArray<string>) => ({
    status: "completed",
    output: ids.map((custom_id) => ({ custom_id, response: answer("good"), error: null })),
    counts: { total: ids.length, completed: ids.length, failed: 0 }
  })

  it.live("are looked for again where a service does not know them yet, on either side (F2)", () =>
    Effect.gen(function* () {
      const server = yield* scripted(all, { lateFiles: 1 })
      const { failed, out } = yield* run(server.url, 2)
      assert.deepStrictEqual([failed, out], [[], ["r1: good", "r2: good"]])
      assert.strictEqual(server.sent.length, 1)
    })
  )

  it.live("are removed at the provider when all is in, and not before (F4)", () =>
    Effect.gen(function* () {
      const server = yield* scripted(all)
      const { failed } = yield* run(server.url, 2)
      assert.deepStrictEqual(failed, [])
      assert.strictEqual(server.seen.indexOf("DELETE /v1/files/file-0"), server.seen.length - 1)
      assert.isTrue(server.seen.includes("GET /v1/files/output-0/content"))
    })
  )

  it.live("are uploaded as often as the layer says (F4)", () =>
    Effect.gen(function* () {
      const server = yield* scripted(all, { failedUploads: 9 })
      const { out } = yield* run(server.url, 2, { batch: { ...BatchRun.fast, attempts: 1 } })
      assert.strictEqual(server.seen.filter((path) => path === "POST /v1/files").length, 1)
      assert.deepStrictEqual(out, [])
    })
  )
})

describe("a batch that somebody cancels while a run waits for it", () => {
  it.live("gives what it has, and nothing else is sent or paid (F3)", () =>
    Effect.gen(function* () {
      const store = BatchRun.newStore()
      const server = yield* scripted((batch, ids) => ({
        status: batch === 0 ? "Cancelled" : "completed",
        output: ids
          .slice(0, batch === 0 ? 1 : undefined)
          .map((custom_id) => ({ custom_id, response: answer("good"), error: null })),
        ...(batch === 0
          ? {
              errors: [
                { custom_id: ids[1], response: null, error: { code: "batch_cancelled", message: "it was cancelled" } }
              ]
            }
          : undefined),
        counts: { total: ids.length, completed: batch === 0 ? 1 : ids.length, failed: 0 }
      }))
      const first = yield* run(server.url, 3, { store })
      assert.deepStrictEqual(first.out, ["r1: good"])
      assert.strictEqual(first.failed.length, 2)
      assert.match(first.failed[0]!, /was cancelled.*pipe retry --failed/)
      assert.strictEqual(server.sent.length, 1)
      // Whoever runs it again wants them.
      const second = yield* run(server.url, 3, { store })
      assert.deepStrictEqual([second.failed, second.out.length], [[], 3])
      assert.deepStrictEqual(
        server.sent.map(({ length }) => length),
        [3, 2]
      )
    })
  )
})

describe("a rejected batch", () => {
  for (const [name, rejection] of [
    ["names no line", [{ code: "invalid", line: null, message: "the file is empty" }]],
    ["names a line that it has not", [{ code: "invalid", line: 900, message: "broken" }]],
    ["names a line that is none", [{ code: "invalid", line: "x", message: "broken" }]],
    ["gives no reason", []]
  ] as const) {
    it.live(`fails its rows, and is not sent again, where it ${name}`, () =>
      Effect.gen(function* () {
        const server = yield* scripted(() => ({ status: "failed", rejection, counts: null }))
        const { failed, out, summary } = yield* run(server.url, 3)
        assert.deepStrictEqual(out, [])
        assert.strictEqual(failed.length, 3)
        assert.include(failed[0]!, rejection[0]?.message ?? "the provider gave no reason")
        assert.strictEqual(server.sent.length, 1)
        assert.strictEqual(summary.cost, 0n)
      })
    )
  }
})

describe("an id of a request", () => {
  it.live("is ours: short, of a safe alphabet, unique, whatever the row is called (bapi-07)", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ batches: { latency: "20 millis" } })
      const rows = Source.fromIterable("rows", [`customers/2026/Łódź/${"x".repeat(100)}`, "👋", "a b"])
      for (const layer of [
        OpenAi.layer({ model: "gpt-4o-mini", baseUrl: simulator.openAiUrl, apiKey: "k" }),
        Anthropic.layer({ model: "claude-haiku-4-5", baseUrl: simulator.anthropicUrl, apiKey: "k" })
      ]) {
        const step = Flow.step("a", { row: rows }, ({ row }) =>
          Effect.map(LanguageModel.generateText({ prompt: row }), (r) => r.text)
        )
        yield* Runner.run(
          Flow.make("ids", {
            outputs: [Sink.forEach("out", step, () => Effect.void)],
            stack: Stack.make(Ledger.layer, layer)
          }),
          { batch: BatchRun.fast }
        ).pipe(Effect.provide(NodeHost.layer({ store: BatchRun.newStore() })))
      }
      const ids = simulator.batches().flatMap(({ customIds }) => customIds)
      assert.strictEqual(new Set(ids).size, 6)
      assert.isTrue(
        ids.every((id) => /^[A-Za-z0-9_-]{1,64}$/.test(id)),
        ids.join()
      )
    })
  )
})

describe("two providers at the bottom", () => {
  it.live("each have batches of their own", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ batches: { latency: "30 millis" } })
      const out: Array<unknown> = []
      const rows = Source.fromIterable("rows", ["a", "b", "c"])
      const ask = (name: string, model: string) =>
        Flow.step(
          name,
          { row: rows },
          ({ row }) => Effect.map(LanguageModel.generateText({ prompt: `${name} ${row}` }), (r) => r.text),
          { model }
        )
      const flow = Flow.make("two", {
        outputs: [
          Sink.forEach("out", { one: ask("one", "gpt-4o-mini"), two: ask("two", "claude-haiku-4-5") }, (value) =>
            Effect.sync(() => out.push(value))
          )
        ],
        stack: Stack.make(
          Ledger.layer,
          Router.providers(
            { models: "claude-", layer: Anthropic.layer({ baseUrl: simulator.anthropicUrl, apiKey: "k" }) },
            { models: "", layer: OpenAi.layer({ baseUrl: simulator.openAiUrl, apiKey: "k" }) }
          )
        )
      })
      const summary = yield* Runner.run(flow, { batch: BatchRun.fast }).pipe(
        Effect.provide(NodeHost.layer({ store: BatchRun.newStore() }))
      )
      assert.strictEqual(out.length, 3)
      assert.deepStrictEqual(
        simulator
          .batches()
          .map(({ requests, wire }) => [wire, requests])
          .sort(),
        [
          ["anthropic", 3],
          ["openai", 3]
        ]
      )
      assert.deepStrictEqual(
        summary.steps.map(({ serviceTier }) => serviceTier),
        ["batch", "batch"]
      )
    })
  )
})

describe("against aimock", () => {
  it.live("a file goes up, a batch is made on it and comes back", () =>
    Effect.gen(function* () {
      const server = yield* Effect.acquireRelease(
        Effect.promise(() => LLMock.create({ port: 0, logLevel: "silent" })),
        (mock) => Effect.promise(() => mock.stop())
      )
      const provider = yield* providerOf(
        OpenAi.layer({ model: "gpt-4o-mini", baseUrl: `${server.url}/v1`, apiKey: "k" })
      )
      const line = yield* provider.encode(
        "pb-x-0",
        ModelRequest.completion({ model: "gpt-4o-mini", messages: [{ role: "user", content: "hello" }] })
      )
      const file = join(mkdtempSync(join(tmpdir(), "pipe-aimock-")), "pb-x.jsonl")
      const { writeFileSync } = yield* Effect.promise(() => import("node:fs"))
      writeFileSync(file, `${provider.frame.head}${line!.text}${provider.frame.tail}`)
      const job = {
        name: "pb-x",
        file,
        endpoint: line!.endpoint,
        model: "gpt-4o-mini",
        requests: 1,
        at: Date.now(),
        uploaded: undefined
      }
      const uploaded = yield* provider.upload!(job)
      const created = yield* provider.create({ ...job, uploaded })
      let status = created
      for (let i = 0; i < 100 && status.state === "running"; i++) {
        yield* Effect.sleep("20 millis")
        status = (yield* provider.status(created.id))!
      }
      assert.strictEqual(status.state, "ended")
      assert.isUndefined(yield* provider.status("batch_unknown"))
    })
  )
})

describe("two runs that want the same answers", () => {
  const together = (offset: Duration.Input) =>
    Effect.scoped(
      Effect.gen(function* () {
        const simulator = yield* Simulator.start({ batches: { latency: "400 millis" } })
        const provider = OpenAi.layer({ model: "gpt-4o-mini", baseUrl: simulator.openAiUrl, apiKey: "test-key" })
        const flow = () => {
          const rows = Source.fromIterable(
            "rows",
            Array.from({ length: 20 }, (_, n) => `row ${n}`)
          )
          const step = Flow.step("a", { row: rows }, ({ row }) =>
            Effect.map(LanguageModel.generateText({ prompt: row }), ({ text }) => text)
          )
          return Flow.make("twice", {
            outputs: [Sink.forEach("out", step, () => Effect.void)],
            stack: Stack.make(Ledger.layer, Retry.layer({ attempts: 1 }), provider)
          })
        }
        const run = Runner.run(flow(), {
          errorsFile: false,
          batch: { polling: { first: "7 millis", most: "11 millis" } }
        })
        // The second finds the batch of the first, being created or created, and either may read its results first.
        const [first, second] = yield* Effect.all([run, Effect.delay(run, offset)], { concurrency: 2 })
        const billed = simulator.bill().reduce((sum, { answers }) => sum + answers, 0)
        assert.strictEqual(first.calls.attempts + second.calls.attempts, billed)
        assert.strictEqual(first.rows.failed + second.rows.failed, 0)
      }).pipe(Effect.provide(Layer.fresh(NodeHost.layerMemory)))
    )

  it.live("account for all that was billed together, whichever of them stores the results", () =>
    Effect.forEach(
      ["100 millis", "150 millis", "150 millis", "200 millis", "350 millis", "350 millis"] as const,
      together,
      {
        concurrency: 2,
        discard: true
      }
    )
  )
})
