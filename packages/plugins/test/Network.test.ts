/** Ways to the provider as companies have them: proxies, own certificates, long answers; and keys that were copied badly. */
import { assert, describe, it } from "@effect/vitest"
import { ModelFailure, Money } from "@pipe/core"
import { Anthropic, OpenAi } from "@pipe/plugins"
import { Effect } from "effect"
import { createServer, request as httpRequest } from "node:http"
import type { AddressInfo } from "node:net"
import * as Apis from "./Apis.ts"
import * as Wire from "./Wire.ts"

const answers: { readonly [A in Apis.Api]: object } = {
  chat: {
    id: "1",
    object: "chat.completion",
    model: "gpt-4o-mini",
    choices: [{ index: 0, message: { role: "assistant", content: "ok" }, finish_reason: "stop" }],
    usage: { prompt_tokens: 12, completion_tokens: 4, total_tokens: 16 }
  },
  responses: {
    id: "1",
    object: "response",
    status: "completed",
    model: "gpt-4o-mini",
    output: [{ type: "message", role: "assistant", content: [{ type: "output_text", text: "ok", annotations: [] }] }],
    usage: { input_tokens: 12, output_tokens: 4, total_tokens: 16 }
  },
  messages: {
    id: "1",
    type: "message",
    role: "assistant",
    model: "claude-sonnet-4-6",
    content: [{ type: "text", text: "ok" }],
    stop_reason: "end_turn",
    usage: { input_tokens: 12, output_tokens: 4 }
  }
}

/** A proxy that sends whatever host is named to a server of the test's, and keeps the hosts. */
const proxyTo = (target: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const hosts: Array<string> = []
      const server = createServer((incoming, outgoing) => {
        const url = new URL(incoming.url ?? "")
        hosts.push(url.host)
        const passed = httpRequest(
          new URL(url.pathname, target),
          { method: incoming.method ?? "GET", headers: incoming.headers },
          (reply) => {
            outgoing.writeHead(reply.statusCode ?? 500, reply.headers)
            reply.pipe(outgoing)
          }
        )
        incoming.pipe(passed)
      })
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, hosts, server }
    }),
    ({ server }) =>
      Effect.sync(() => {
        server.closeAllConnections()
        server.close()
      })
  )

/** Runs an effect with variables of the environment, and puts back what was there. */
const withEnvironment = <A, E, R>(values: { readonly [name: string]: string }, effect: Effect.Effect<A, E, R>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      const before = Object.keys(values).map((name) => [name, process.env[name]] as const)
      Object.assign(process.env, values)
      return before
    }),
    () => effect,
    (before) =>
      Effect.sync(() => {
        for (const [name, value] of before) {
          if (value === undefined) delete process.env[name]
          else process.env[name] = value
        }
      })
  )

const question = Wire.question("x", { settings: { maxTokens: 50 } })

describe("a proxy", () => {
  // One test: the environment is that of the whole process.
  it.live("is used by all (net-01), but for hosts that are left out, and named where it is not there", () =>
    Effect.gen(function* () {
      for (const api of Apis.apis) {
        for (const way of Apis.ways.filter(({ stream }) => !stream)) {
          const name = `${api} ${Apis.nameOf(way)}`
          const server = yield* Wire.serve(() => ({ body: answers[api] }))
          const proxy = yield* proxyTo(server.url)
          const there = Apis.layerOf(api, Apis.baseOf(api, "http://api.example.test"), way)
          const through = yield* withEnvironment({ HTTP_PROXY: proxy.url }, Wire.ask(there, question))
          assert.strictEqual(through.error, undefined, name)
          assert.deepStrictEqual(proxy.hosts, ["api.example.test"], name)
          const without = yield* withEnvironment(
            { HTTP_PROXY: proxy.url, NO_PROXY: "other.test, .example.test" },
            Wire.ask(there, question)
          )
          assert.strictEqual(without.error?.reason._tag, "NetworkError", name)
          // What runs here is never called through it.
          const here = Apis.layerOf(api, Apis.baseOf(api, server.url), way)
          const straight = yield* withEnvironment({ HTTP_PROXY: proxy.url }, Wire.ask(here, question))
          assert.strictEqual(straight.error, undefined, name)
          assert.strictEqual(proxy.hosts.length, 1, name)
          const gone = yield* withEnvironment(
            { https_proxy: "http://127.0.0.1:9" },
            Wire.ask(Apis.layerOf(api, "https://api.example.test/v1", way), question)
          )
          assert.match(
            ModelFailure.message(gone.error!),
            /^cannot connect to https:\/\/api\.example\.test through the proxy of https_proxy/,
            name
          )
          assert.strictEqual(gone.sums.spent, Money.zero, name)
        }
      }
      for (const [HTTPS_PROXY, says] of [
        ["http://user:100%-x@proxy:1", /^HTTPS_PROXY is not the address of a proxy/],
        ["http://user:s3cret@:::", /^HTTPS_PROXY is not the address of a proxy/],
        ["socks5://127.0.0.1:1", /^HTTPS_PROXY names a proxy of the kind socks5/]
      ] as const) {
        const layer = Apis.layerOf("chat", "https://api.example.test/v1", Apis.ways[0]!)
        const { error } = yield* withEnvironment({ HTTPS_PROXY }, Wire.ask(layer, question))
        assert.match(ModelFailure.message(error!), says)
        assert.notInclude(ModelFailure.message(error!), "s3cret")
      }
    })
  )
})

describe("a key or an address that was copied badly", () => {
  for (const [what, apiKey, says] of [
    ["a curly quote (env-04)", "sk-ant-x“", /the key from the options has the character “ at place 9/],
    ["a line break (env-04-n1)", "sk-ant\nx", /has a line break at place 7/],
    ["a letter of another alphabet", "sk-аbc", /has the character а at place 4/]
  ] as const) {
    it.live(`stops before anything is sent: ${what}`, () =>
      Effect.gen(function* () {
        const server = yield* Wire.serve(() => ({ body: answers.chat }))
        for (const layer of [
          OpenAi.layer({ baseUrl: `${server.url}/v1`, apiKey, model: "m" }),
          OpenAi.layer({ baseUrl: `${server.url}/v1`, apiKey, model: "m", transport: "sdk" }),
          Anthropic.layer({ baseUrl: server.url, apiKey, model: "m" })
        ]) {
          const { error } = yield* Wire.ask(layer, question)
          assert.match(ModelFailure.message(error!), says)
          assert.isTrue(ModelFailure.isHopeless(error!))
          assert.notInclude(ModelFailure.message(error!), "sk-ant")
        }
        assert.strictEqual(server.seen.length, 0)
      })
    )
  }

  it.live("is trimmed (env-03)", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve(() => ({ body: answers.chat }))
      yield* Wire.ask(OpenAi.layer({ baseUrl: `${server.url}/v1`, apiKey: " sk-x\n", model: "m" }), question)
      assert.strictEqual(server.seen[0]?.headers.authorization, "Bearer sk-x")
    })
  )

  for (const baseUrl of ["localhost:9999/v1", "api.example.com", "ftp://x/v1"]) {
    it.live(`names the address that is none: ${baseUrl} (env-05)`, () =>
      Effect.gen(function* () {
        for (const layer of [
          OpenAi.layer({ baseUrl, apiKey: "k", model: "m" }),
          Anthropic.layer({ baseUrl, apiKey: "k", model: "m" })
        ]) {
          const { error } = yield* Wire.ask(layer, question)
          assert.include(ModelFailure.message(error!), `baseUrl is "${baseUrl}"`)
          assert.match(ModelFailure.message(error!), /must start with https:\/\/ or http:\/\//)
        }
      })
    )
  }

  it.live("a header that cannot be sent is named", () =>
    Effect.gen(function* () {
      const layer = OpenAi.layer({
        baseUrl: "http://127.0.0.1:9/v1",
        apiKey: "k",
        model: "m",
        headers: { "x-team": "a“b" }
      })
      assert.match(
        ModelFailure.message((yield* Wire.ask(layer, question)).error!),
        /the header x-team has the character “/
      )
    })
  )
})
