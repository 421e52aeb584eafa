/** Anthropic's batch API on the wire, with results that it should not give. */
import { assert, describe, it } from "@effect/vitest"
import { Money } from "@pipe/core"
import { Anthropic } from "@pipe/plugins"
import { Effect } from "effect"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as BatchRun from "./BatchRun.ts"

const message = {
  id: "msg_1",
  type: "message",
  role: "assistant",
  model: "claude-haiku-4-5",
  content: [{ type: "text", text: "good" }],
  stop_reason: "end_turn",
  usage: { input_tokens: 10, output_tokens: 5 }
}

// claude-haiku-4-5 in a batch: 0.50 and 2.50 USD per million tokens (docs.anthropic.com pricing, 2026-11-28).
const COST = 10n * 500_000n + 5n * 2_500_000n

interface Results {
  /** Lines of the results, as they are. */
  readonly lines: ReadonlyArray<string>
  readonly counts?: { readonly [name: string]: number }
  /** Bytes of the results that the first download gives. */
  readonly cut?: number
  /** How often the results are not there yet. */
  readonly late?: number
}

/** A server that speaks Anthropic's batches. */
const scripted = (
  script: (batch: number, ids: ReadonlyArray<string>) => Results,
  options: {
    /** Batches whose creation gets no answer, by number. */
    readonly lost?: number
    /** The first batch ends when the results of another have been read. */
    readonly firstIsLast?: boolean
  } = {}
) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const sent: Array<ReadonlyArray<string>> = []
      const results: Array<Results> = []
      let isFirstOver = options.firstIsLast !== true
      const server = createServer((request, response) => {
        const chunks: Array<Buffer> = []
        request.on("data", (chunk: Buffer) => chunks.push(chunk))
        request.on("end", () => {
          const path = new URL(request.url!, "http://x").pathname
          const json = (value: unknown, status = 200) => {
            response.writeHead(status, { "content-type": "application/json" })
            response.end(JSON.stringify(value))
          }
          const statusOf = (number: number) => (number === 0 && !isFirstOver ? "in_progress" : "ended")
          const batch = (number: number, status = statusOf(number)) => ({
            id: `msgbatch_${number}`,
            type: "message_batch",
            processing_status: status,
            created_at: new Date().toISOString(),
            request_counts: {
              processing: 0,
              succeeded: sent[number]?.length ?? 3,
              errored: 0,
              canceled: 0,
              expired: 0,
              ...results[number]?.counts
            },
            results_url: status === "ended" ? `http://x/v1/messages/batches/msgbatch_${number}/results` : null
          })
          if (path === "/v1/messages/batches" && request.method === "POST") {
            const { requests } = JSON.parse(Buffer.concat(chunks).toString()) as {
              readonly requests: ReadonlyArray<{ readonly custom_id: string }>
            }
            const ids = requests.map(({ custom_id }) => custom_id)
            sent.push(ids)
            results.push(script(sent.length - 1, ids))
            if (sent.length - 1 === options.lost) return response.destroy()
            return json(batch(sent.length - 1, "in_progress"))
          }
          if (path === "/v1/messages/batches") {
            return json({ data: sent.map((_, number) => batch(number)), has_more: false })
          }
          const [, number, part] = /^\/v1\/messages\/batches\/msgbatch_(\d+)(\/results)?$/.exec(path) ?? []
          const own = results[Number(number)]
          if (own === undefined) return json({ type: "error", error: { type: "not_found_error", message: "no" } }, 404)
          if (part === undefined) return json(batch(Number(number)))
          const { cut, late = 0, lines } = own
          if (late > 0) {
            results[Number(number)] = { ...own, late: late - 1 }
            return json({ type: "error", error: { type: "not_found_error", message: "not ready" } }, 404)
          }
          if (number !== "0") isFirstOver = true
          results[Number(number)] = { ...own, cut: undefined } as never
          response.writeHead(200).end(
            lines
              .map((line) => `${line}\n`)
              .join("")
              .slice(0, cut)
          )
        })
      })
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, sent, server }
    }),
    ({ server }) =>
      Effect.sync(() => {
        server.closeAllConnections()
        server.close()
      })
  )

const run = (url: string, n: number, options: BatchRun.Options = {}) =>
  BatchRun.run(Anthropic.layer({ model: "claude-haiku-4-5", baseUrl: url, apiKey: "k" }), n, options)

const succeeded = (custom_id: string, body: unknown = message) =>
  JSON.stringify({ custom_id, result: { type: "succeeded", message: body } })

const good = (ids: ReadonlyArray<string>) => ids.map((id) => succeeded(id))

describe("an answer in a batch of Anthropic", () => {
  const costs: ReadonlyArray<readonly [id: string, what: string, usage: object, usd: string]> = [
    // docs.anthropic.com pricing, 2026-11-28: claude-haiku-4-5 is 1 and 5 USD per million tokens, in a batch the half; cache writes 1.25
    // and, for an hour, 2; a search is 0.01 USD; inference in the US costs 1.1.
    [
      "cost-01-n4",
      "web searches",
      { input_tokens: 1_000, output_tokens: 100, server_tool_use: { web_search_requests: 2 } },
      "0.02075"
    ],
    [
      "cost-07-n2",
      "a place of inference",
      { input_tokens: 1_000, output_tokens: 100, inference_geo: "us" },
      "0.000825"
    ],
    [
      "cost-10",
      "both kinds of cache",
      {
        input_tokens: 0,
        output_tokens: 100,
        cache_creation_input_tokens: 100_000,
        cache_creation: { ephemeral_5m_input_tokens: 60_000, ephemeral_1h_input_tokens: 40_000 }
      },
      "0.07775"
    ]
  ]
  for (const [id, what, usage, usd] of costs) {
    it.live(`${id}: is priced by ${what}`, () =>
      Effect.gen(function* () {
        const server = yield* scripted((_, ids) => ({ lines: ids.map((id) => succeeded(id, { ...message, usage })) }))
        const { failed, summary } = yield* run(server.url, 1)
        assert.deepStrictEqual(failed, [])
        assert.strictEqual(Money.toUsd(summary.cost), usd)
      })
    )
  }

  it.live("is looked for again where the results are not there yet (F2)", () =>
    Effect.gen(function* () {
      const server = yield* scripted((_, ids) => ({ lines: good(ids), late: 1 }))
      const { failed, out } = yield* run(server.url, 2)
      assert.deepStrictEqual([failed, out.length], [[], 2])
    })
  )

  it.live("is not sent again where somebody cancelled its batch while a run waited for it (F3)", () =>
    Effect.gen(function* () {
      const server = yield* scripted((_, ids) => ({
        lines: [succeeded(ids[0]!), JSON.stringify({ custom_id: ids[1], result: { type: "canceled" } })],
        counts: { succeeded: 1, canceled: 1 }
      }))
      const { failed, out } = yield* run(server.url, 2)
      assert.strictEqual(out.length, 1)
      assert.strictEqual(failed.length, 1)
      assert.match(failed[0]!, /was cancelled.*pipe retry --failed/)
      assert.strictEqual(server.sent.length, 1)
    })
  )
})

describe("odd results of Anthropic's batches", () => {
  for (const line of [
    "null",
    "{}",
    "5",
    "[]",
    '"text"',
    "{",
    "",
    '{"custom_id":5}',
    '{"custom_id":null,"result":{}}',
    '{"custom_id":"other-1","result":{"type":"succeeded"}}'
  ]) {
    it.live(`beside all answers take none of them: ${JSON.stringify(line)}`, () =>
      Effect.gen(function* () {
        const server = yield* scripted((_, ids) => ({ lines: [line, ...good(ids), line] }))
        const { failed, out, summary } = yield* run(server.url, 3)
        assert.deepStrictEqual([failed, out.length, summary.status], [[], 3, "done"])
        assert.strictEqual(server.sent.length, 1)
        assert.strictEqual(summary.cost, 3n * COST)
      })
    )
  }

  for (const [name, line] of [
    ["no result", (id: string) => JSON.stringify({ custom_id: id })],
    ["a result that is text", (id: string) => JSON.stringify({ custom_id: id, result: "x" })],
    ["a result of another type", (id: string) => JSON.stringify({ custom_id: id, result: { type: "done" } })],
    ["no message", (id: string) => JSON.stringify({ custom_id: id, result: { type: "succeeded" } })],
    ["a message without content", (id: string) => succeeded(id, { ...message, content: undefined })],
    ["content of another kind", (id: string) => succeeded(id, { ...message, content: 5 })],
    ["text that is none", (id: string) => succeeded(id, { ...message, content: [{ type: "text", text: {} }] })]
  ] as const) {
    it.live(`fail their own row, which is billed and not sent again: ${name}`, () =>
      Effect.gen(function* () {
        const server = yield* scripted((_, ids) => ({ lines: [...good(ids.slice(1)), line(ids[0]!)] }))
        const { failed, out, summary } = yield* run(server.url, 3)
        assert.deepStrictEqual(out, ["r2: good", "r3: good"])
        assert.strictEqual(failed.length, 1)
        assert.strictEqual(server.sent.length, 1)
        // What has a count costs that, also where it is no answer.
        const isCounted = line("x").includes("input_tokens")
        assert.strictEqual(summary.estimatedCalls, isCounted ? 0 : 1)
        if (isCounted) assert.strictEqual(summary.cost, 3n * COST)
        else {
          assert.strictEqual(summary.cost - summary.estimatedCost, 2n * COST)
          assert.isTrue(summary.estimatedCost >= COST)
        }
      })
    )
  }

  it.live("without a count are recorded as the most that they can have cost", () =>
    Effect.gen(function* () {
      const server = yield* scripted((_, ids) => ({
        lines: ids.map((id) => succeeded(id, { ...message, usage: undefined }))
      }))
      const { out, summary } = yield* run(server.url, 3)
      assert.strictEqual(out.length, 3)
      assert.strictEqual(summary.estimatedCalls, 3)
      assert.isTrue(summary.cost >= 3n * COST)
    })
  )

  it.live("that end early are waited for", () =>
    Effect.gen(function* () {
      for (const cut of [0, 40, 200]) {
        const server = yield* scripted((_, ids) => ({ lines: good(ids), cut }))
        const { failed, out, summary } = yield* run(server.url, 3)
        assert.deepStrictEqual([failed, out.length, summary.status], [[], 3, "done"], String(cut))
        assert.strictEqual(server.sent.length, 1)
        assert.strictEqual(summary.cost, 3n * COST)
      }
    })
  )

  it.live("that are counted and never given stop the run in words, and nothing is sent again", () =>
    Effect.gen(function* () {
      const server = yield* scripted((_, ids) => ({ lines: good(ids.slice(0, 1)) }))
      const { failure } = yield* run(server.url, 3)
      assert.include(String(failure?.message), "counts 2 answers that its results do not contain")
      assert.strictEqual(server.sent.length, 1)
    })
  )

  it.live("are sent again where the batch has expired before they were made", () =>
    Effect.gen(function* () {
      const server = yield* scripted((batch, ids) =>
        batch > 0
          ? { lines: good(ids) }
          : {
              lines: [
                ...good(ids.slice(0, 1)),
                ...ids.slice(1).map((custom_id) => JSON.stringify({ custom_id, result: { type: "expired" } }))
              ],
              counts: { succeeded: 1, expired: 2 }
            }
      )
      const { failed, out, summary } = yield* run(server.url, 3)
      assert.deepStrictEqual([failed, out.length], [[], 3])
      assert.deepStrictEqual(
        server.sent.map(({ length }) => length),
        [3, 2]
      )
      assert.strictEqual(summary.cost, 3n * COST)
    })
  )

  it.live("of a batch whose creation was lost are found by the ids of its requests", () =>
    Effect.gen(function* () {
      const server = yield* scripted((_, ids) => ({ lines: good(ids) }), { lost: 0 })
      const { out } = yield* run(server.url, 3)
      assert.strictEqual(out.length, 3)
      assert.strictEqual(server.sent.length, 1)
    })
  )

  it.live("of a batch whose creation was lost are found beside one of ours that still runs", () =>
    Effect.gen(function* () {
      const server = yield* scripted((_, ids) => ({ lines: good(ids) }), { lost: 1, firstIsLast: true })
      const { out } = yield* run(server.url, 6, { batch: { ...BatchRun.fast, maxRequests: 3 } })
      assert.strictEqual(out.length, 6)
      assert.strictEqual(server.sent.length, 2)
    })
  )
})
