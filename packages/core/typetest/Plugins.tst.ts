/** What the constructors of plugins infer, and which wrong uses they reject; checked by the compiler alone. */
import { ModelClient, ModelRequest, ModelResponse, RateLimit, Router, Sink, Source } from "@pipe/core"
import { Context, Effect, type Layer, Schema, Stream } from "effect"

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const same = <A, B>(_: Equal<A, B>): void => {}

class Log extends Context.Service<Log, { readonly write: (line: string) => Effect.Effect<void> }>()("Log") {}
class LogError extends Schema.TaggedError<LogError>()("LogError", {}) {}

type Layered<R = never, E = never> = Layer.Layer<ModelClient.ModelClient, E, ModelClient.ModelClient | R>

const letters = Source.fromIterable("letters", ["a", "b"])

// What a layer needs and how it fails are in its type.
const opened = ModelClient.middlewareEffect((next) =>
  Effect.gen(function* () {
    const log = yield* Log
    if (log === undefined) return yield* new LogError()
    const send: ModelClient.Send = (request) => Effect.andThen(log.write(request._tag), next.send(request))
    return send
  })
)
same<typeof opened, Layered<Log, LogError>>(true)

const watching = ModelClient.onAttempt(({ provider }) =>
  Effect.succeed({ onEnd: ({ billed }) => Effect.flatMap(Log, (log) => log.write(`${provider} ${billed}`)) })
)
same<typeof watching, Layered<Log>>(true)

const counting = ModelClient.onAttempt(() => Effect.succeed({ onEnd: () => {} }))
same<typeof counting, Layered>(true)

// A question of a layer has the kind of its `send`.
ModelClient.completionMiddleware((send) => (request) => {
  same<typeof request, ModelRequest.Completion>(true)
  const answer = ModelClient.aside("question", send)(request)
  same<typeof answer, ReturnType<ModelClient.SendCompletion>>(true)
  return answer
})

// An output of any node, and what it needs.
const out = Sink.make("out", letters, {
  open: Effect.map(Log, (log) => ({
    write: (rows: ReadonlyArray<string>) => Effect.forEach(rows, log.write)
  })),
  simulated: Effect.succeed({ write: () => Effect.succeed([]) })
})
same<typeof out, Sink.Sink<never, Log>>(true)

// @ts-expect-error `send` returns an effect, not a promise
ModelClient.middleware((send) => async (request) => send(request))
// @ts-expect-error an answer is a response, not a text
ModelClient.middleware(() => () => "hello")
// @ts-expect-error an answer is a response, not a text
ModelClient.completionMiddleware((send) => (request) => Effect.map(send(request), ModelResponse.text))
// @ts-expect-error it returns an effect of `send`, not `send`
ModelClient.middlewareEffect((next) => next.send)
// @ts-expect-error an object is for `middlewareService`
ModelClient.middlewareEffect((next) => Effect.succeed({ send: next.send, resolve: next.resolve }))
// @ts-expect-error `resolve` is missing
ModelClient.middlewareService((next) => Effect.succeed({ send: next.send }))
// @ts-expect-error it returns a request, not a text
ModelClient.mapRequest((request) => ModelRequest.text(request))
// @ts-expect-error it returns `{ request, restore }`; `mapRequest` returns a request
ModelClient.around((request) => ModelRequest.mapText(request, (text) => text))
// @ts-expect-error `restore` returns a response, not a text
ModelClient.around((request) => ({ request, restore: (response) => ModelResponse.text(response) }))
// @ts-expect-error a hook returns an effect
ModelClient.onAttempt(() => ({ onEnd: () => {} }))
// @ts-expect-error `onEnd` returns nothing, or an effect
ModelClient.onAttempt(() => Effect.succeed({ onEnd: ({ billed }) => billed }))
// @ts-expect-error `onEnd` returns nothing, or an effect: a promise would be lost
ModelClient.onAttempt(() => Effect.succeed({ onEnd: async () => {} }))
// @ts-expect-error an answer is a response, not a text
ModelClient.provider({ name: "echo", completion: () => Effect.succeed("text") })
// @ts-expect-error `name` is missing
ModelClient.provider({ send: ModelClient.handle({}) })
// @ts-expect-error the option is `answers`
ModelClient.middleware((send) => send, { name: "Log", answer: false })
// @ts-expect-error `write` belongs to what `open` returns
Sink.make("out", letters, { write: () => Effect.void })
// @ts-expect-error `write` returns an effect, not a promise
Sink.make("out", letters, { open: Effect.succeed({ write: async (rows: ReadonlyArray<string>) => rows }) })
// @ts-expect-error `open` is an effect
Sink.make("out", letters, { open: { write: () => Effect.void } })
// @ts-expect-error the rows are texts
Sink.make("out", letters, { open: Effect.succeed({ write: (_: ReadonlyArray<number>) => Effect.void }) })
// @ts-expect-error `open` is an effect of `{ rows }`
Source.make("in", { schema: Schema.String, open: Stream.make("a") })
// @ts-expect-error rows are a stream
Source.make("in", { schema: Schema.String, open: Effect.succeed({ rows: ["a"] }) })
// @ts-expect-error the option is `requestsPerMinute`
RateLimit.layer({ requestPerMinute: 3 })
// @ts-expect-error the route is the name of a model
Router.choose(() => 3, { baseline: "a" })
