/**
 * What every provider holds to: an answer has its text, its model and its usage; plans and tests need no key; whatever a
 * server does, a call ends as a failure of the right kind, which says whether it may be billed and never shows the key;
 * and a call that is interrupted ends its connection.
 *
 * **Example** (a provider with a server that answers for its API)
 *
 * ```ts
 * import { ModelClientContract } from "@pipe/core/testing"
 * import { NodeHost, OpenAi, Simulator } from "@pipe/plugins"
 * import { Effect } from "effect"
 *
 * const cases = ModelClientContract.cases({
 *   provider: (endpoint) => OpenAi.layer({ model: "gpt-4o-mini", ...endpoint }),
 *   server: Effect.map(Simulator.start(), ({ openAiUrl }) => ({ baseUrl: openAiUrl, apiKey: "key-of-the-contract" })),
 *   host: NodeHost.layerMemory
 * })
 * for (const { run } of cases) await run()
 * cases.length // => 10
 * ```
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict"
import * as ModelClient from "../client/ModelClient.ts"
import * as Stack from "../client/Stack.ts"
import * as Flow from "../flow/Flow.ts"
import * as Sink from "../flow/Sink.ts"
import * as Source from "../flow/Source.ts"
import * as Ledger from "../ledger/Ledger.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import * as ModelRequest from "../model/ModelRequest.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as Plan from "../plan/Plan.ts"
import * as Runner from "../run/Runner.ts"
import type * as Store from "../store/Store.ts"
import * as Case from "./Case.ts"
import * as HostileServer from "./HostileServer.ts"
import * as TestFlow from "./TestFlow.ts"
import * as TestModel from "./TestModel.ts"

/** Where a provider sends to. */
export interface Endpoint {
  readonly baseUrl: string
  readonly apiKey: string
}

/** What is tested. */
export interface Options<E, E2> {
  /** The provider at an address, with a default model. */
  readonly provider: (endpoint: Endpoint) => Layer.Layer<ModelClient.ModelClient, E, Flow.Host>
  /** A server that answers completions of this API: a simulator, or recorded answers. */
  readonly server: Effect.Effect<Endpoint, E2, Scope.Scope>
  /** Files and a store in memory: `NodeHost.layerMemory`. */
  readonly host: Layer.Layer<Flow.Host, Store.StoreError>
  /** The prompt of the question to the server. Default: `"Say hello."`. */
  readonly prompt?: string
}

const KEY = "contract-key-4f9a1c77"

/** Bodies with a status of success that are not answers. */
const BROKEN = [
  "",
  "<html>sorry</html>",
  "{",
  "[]",
  "null",
  "{}",
  '{"choices":[]}',
  '"text"',
  '{"error":{"message":"no"}}'
]

/** Statuses, and the kind of failure that each stands for. */
const REFUSALS: ReadonlyArray<readonly [status: number, kind: ModelFailure.Kind]> = [
  [400, "final"],
  [401, "auth"],
  [402, "quota"],
  [404, "final"],
  [429, "rate"],
  [500, "transient"],
  [503, "transient"]
]

/** Parts of a request that are seen in the body of the call, or refused. */
const PARTS: ReadonlyArray<readonly [what: string, sentinel: string, fields: Partial<ModelRequest.Completion>]> = [
  ["the system message", "sentinel-system", { messages: [{ role: "system", content: "sentinel-system" }] }],
  [
    "an earlier answer",
    "sentinel-answer",
    {
      messages: [
        { role: "user", content: "first" },
        { role: "assistant", content: "sentinel-answer" },
        { role: "user", content: "second" }
      ]
    }
  ],
  ["maxTokens", "7321", { settings: { maxTokens: 7_321 } }],
  ["temperature", "0.7321", { settings: { temperature: 0.7321 } }],
  ["topP", "0.7321", { settings: { topP: 0.7321 } }],
  ["stop", "sentinel-stop", { settings: { stop: ["sentinel-stop"] } }],
  ["seed", "7321", { settings: { seed: 7_321 } }],
  ["presencePenalty", "0.7321", { settings: { presencePenalty: 0.7321 } }],
  ["frequencyPenalty", "0.7321", { settings: { frequencyPenalty: 0.7321 } }],
  [
    "a tool",
    "sentinel_tool",
    {
      tools: [
        {
          name: "sentinel_tool",
          parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] }
        }
      ]
    }
  ],
  [
    "the schema of the answer",
    "sentinel_field",
    {
      responseFormat: {
        type: "json",
        name: "answer",
        schema: {
          type: "object",
          properties: { sentinel_field: { type: "string" } },
          required: ["sentinel_field"],
          additionalProperties: false
        }
      }
    }
  ]
]

/** What the cases share. */
const kit = <E, E2>({ host, prompt = "Say hello.", provider }: Options<E, E2>) => {
  const request = ModelRequest.completion({ messages: [{ role: "user", content: prompt }] })
  const law = <E3>(name: string, effect: Effect.Effect<unknown, E3, Flow.Host | Scope.Scope>) =>
    Case.make(name, Effect.provide(effect, Layer.fresh(host)))

  const ask = (endpoint: Endpoint) =>
    ModelClient.send(request).pipe(Effect.provide(Layer.fresh(provider(endpoint)))) as Effect.Effect<
      ModelResponse.CompletionResponse,
      AiError.AiError,
      Flow.Host
    >

  /** How a call fails. */
  const failure = (endpoint: Endpoint, what: string) =>
    Effect.map(Effect.result(ask(endpoint)), (result) => {
      if (result._tag === "Success") {
        return ok(false, `${what} is taken for an answer: ${JSON.stringify(result.success.parts)}`) as never
      }
      ok(AiError.isAiError(result.failure), `${what} fails with ${String(result.failure)}, which is no AiError`)
      const message = ModelFailure.message(result.failure)
      ok(message.trim() !== "", `${what} fails without a message`)
      ok(!message.includes(KEY), `the message for ${what} shows the key`)
      return result.failure
    })

  /** A hostile server, and how a call to it fails. A call is one request: retries are those of `Retry`. */
  const meet = (conduct: HostileServer.Conduct, what: string) =>
    Effect.scoped(
      Effect.flatMap(HostileServer.start(conduct), ({ requests, url }) =>
        Effect.tap(failure({ baseUrl: url, apiKey: KEY }, what), () =>
          Effect.sync(() => strictEqual(requests(), 1, `${what} is sent ${requests()} times by one call`))
        )
      )
    )

  const flow = (endpoint: Endpoint) => {
    const question = Source.fromIterable("questions", [prompt])
    const answer = Flow.step(
      "answer",
      { question },
      ({ question }) => Effect.map(LanguageModel.generateText({ prompt: question }), ({ text }) => text),
      { by: "contract" }
    )
    const made = Flow.make("contract", {
      outputs: [Sink.forEach("out", answer, () => Effect.void)],
      stack: Stack.make(Ledger.layer, provider(endpoint))
    })
    return { answer, flow: made }
  }

  /** The body of a call with other fields; `undefined` when it was refused before it was sent. */
  const bodyWith = (fields: Partial<ModelRequest.Completion>) =>
    Effect.scoped(
      Effect.gen(function* () {
        const { body, requests, url } = yield* HostileServer.start({ status: 400, body: "{}" })
        const call = ModelClient.send({ ...request, ...fields })
        yield* Effect.exit(Effect.provide(call, Layer.fresh(provider({ baseUrl: url, apiKey: KEY }))))
        return requests() === 0 ? undefined : body()
      })
    )

  return { law, ask, failure, meet, flow, bodyWith }
}

type Kit = ReturnType<typeof kit>

/** With a server that answers, or none. */
const ofAnswers = <E, E2>({ ask, flow, law }: Kit, { server }: Options<E, E2>): ReadonlyArray<Case.Case> => [
  law(
    "answers with a text, the model, and what it used; the call is recorded once",
    Effect.gen(function* () {
      const endpoint = yield* server
      const response = yield* ask(endpoint)
      ok(ModelResponse.text(response) !== "", "the answer has no text")
      ok(response.usage !== undefined, "the answer has no usage: each call is recorded at the most that it can cost")
      strictEqual(response.finishReason, "stop")
      const summary = yield* Runner.run(flow(endpoint).flow, { errorsFile: false })
      strictEqual(summary.calls.attempts, 1)
      strictEqual(summary.estimatedCalls, 0)
      strictEqual(summary.steps[0]?.provider, response.provider)
    })
  ),
  law(
    "is planned without a key and without a call, for its model",
    Effect.gen(function* () {
      const { requests, url } = yield* HostileServer.start("hang")
      const plan = yield* Plan.make(flow({ baseUrl: url, apiKey: "" }).flow)
      deepStrictEqual(
        plan.lines.map(({ calls }) => calls),
        [1]
      )
      ok(plan.lines[0]!.model !== "", "`resolve` does not fill in the model")
      strictEqual(requests(), 0, "a plan calls the provider")
    })
  ),
  law(
    "is replaced by a test model, without a key and without a call",
    Effect.gen(function* () {
      const { requests, url } = yield* HostileServer.start("hang")
      const { answer, flow: tested } = flow({ baseUrl: url, apiKey: "" })
      const run = yield* TestFlow.run(tested, { model: TestModel.make({ answer: "hello" }) })
      deepStrictEqual(run.rows(answer), ["hello"])
      strictEqual(requests(), 0)
    })
  )
]

/** With servers that do not answer. */
const ofFailures = ({ ask, bodyWith, failure, law, meet }: Kit): ReadonlyArray<Case.Case> => [
  law(
    "leaves nothing of a request out: it is in the body, or the call is refused",
    Effect.forEach(PARTS, ([what, sentinel, fields]) =>
      Effect.map(bodyWith(fields), (body) =>
        ok(body === undefined || body.includes(sentinel), `${what} is left out of the body, and the call is sent`)
      )
    )
  ),
  law(
    "fails by the kind of a refusal",
    Effect.forEach(REFUSALS, ([status, kind]) =>
      Effect.map(meet({ status, body: '{"error":{"message":"no"}}' }, `status ${status}`), (error) =>
        strictEqual(ModelFailure.kind(error), kind, `status ${status}`)
      )
    )
  ),
  law(
    "waits as long as a refusal asks for",
    Effect.map(meet({ status: 429, body: "{}", headers: { "retry-after": "7" } }, "a refusal with a wait"), (error) => {
      const wait = ModelFailure.retryAfter(error)
      strictEqual(wait === undefined ? undefined : Duration.toSeconds(wait), 7)
    })
  ),
  law(
    "takes nothing for an answer that is not one",
    Effect.forEach(BROKEN, (body) => meet({ status: 200, body }, `the body ${JSON.stringify(body)}`))
  ),
  law(
    "may be billed for a call whose answer was lost",
    Effect.forEach(["cut", "drop"] as const, (conduct) =>
      Effect.map(meet(conduct, `a connection that ends (${conduct})`), (error) =>
        ok(ModelFailure.mayBeBilled(error), `a connection that ends (${conduct}) is recorded as free`)
      )
    )
  ),
  law(
    "is not billed, and stops the run, when its server cannot be reached",
    Effect.gen(function* () {
      // A server that has ended.
      const { url } = yield* Effect.scoped(HostileServer.start("hang"))
      const error = yield* failure({ baseUrl: url, apiKey: KEY }, "a closed port")
      ok(!ModelFailure.mayBeBilled(error), "a call that was never sent is recorded as billed")
      ok(ModelFailure.isHopeless(error), "a server that cannot be reached does not stop the run")
    })
  ),
  law(
    "ends its connection when it is interrupted",
    Effect.gen(function* () {
      const { left, requests, url } = yield* HostileServer.start("hang")
      const fiber = yield* Effect.forkChild(ask({ baseUrl: url, apiKey: KEY }))
      while (requests() === 0) yield* Effect.sleep(2)
      yield* Fiber.interrupt(fiber)
      yield* Effect.timeoutOrElse(
        Effect.promise(() => left),
        { duration: "5 seconds", orElse: () => Effect.die(new Error("the connection stays open")) }
      )
    })
  )
]

/** The contract, as tests. */
export const cases = <E, E2>(options: Options<E, E2>): ReadonlyArray<Case.Case> => {
  const made = kit(options)
  return [...ofAnswers(made, options), ...ofFailures(made)]
}
