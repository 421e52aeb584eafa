/**
 * Checks the providers of a flow's stack, or those that most flows use. Each provider has a check of its own, which is
 * free.
 */
import * as LayerAnnotations from "@pipe/core/LayerAnnotations"
import * as ModelClient from "@pipe/core/ModelClient"
import * as ModelFailure from "@pipe/core/ModelFailure"
import * as Plan from "@pipe/core/Plan"
import * as RunHooks from "@pipe/core/RunHooks"
import * as NodeHost from "@pipe/plugins/NodeHost"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as LoadFlow from "../../process/LoadFlow.ts"
import { type Check, ok, warning, wrong } from "./Check.ts"

/** The checks of all providers. */
export const check = (input: { readonly flow: Option.Option<string>; readonly offline: boolean }) =>
  Effect.scoped(
    Option.match(input.flow, {
      onNone: () => usual(input.offline),
      onSome: (file) => ofFlow(file, input.offline)
    })
  ).pipe(Effect.provide(NodeHost.layerMemory))

/** The providers of a flow. */
const ofFlow = Effect.fnUntraced(function* (file: string, offline: boolean) {
  const flow = yield* LoadFlow.load(file)
  const layers = yield* Effect.result(
    Plan.layers(flow).pipe(Effect.catchDefect((defect) => Effect.fail({ message: wordsOf(defect) })))
  )
  if (layers._tag === "Failure") return [wrong("flow", layers.failure.message)]
  const providers = LayerAnnotations.providers(layers.success)
  if (providers.length === 0) return [ok("flow", `${file} calls no model`)]
  return yield* Effect.forEach(providers, (provider) => result(provider, offline, wrong), { concurrency: "unbounded" })
})

/** The providers that most flows use. A missing key is needed by their flows only. */
const usual = Effect.fnUntraced(function* (offline: boolean) {
  const [Anthropic, OpenAi] = yield* Effect.promise(() =>
    Promise.all([import("@pipe/plugins/Anthropic"), import("@pipe/plugins/OpenAi")])
  )
  return yield* Effect.forEach(
    [
      ["OpenAI", OpenAi.layer()],
      ["Anthropic", Anthropic.layer()]
    ] as const,
    Effect.fnUntraced(function* ([name, layer]) {
      const built = yield* Effect.result(Layer.build(layer).pipe(RunHooks.provide({ isPlan: true })))
      if (built._tag === "Failure") return wrong(name, ModelFailure.message(built.failure))
      const [provider] = LayerAnnotations.providers(Context.get(built.success, ModelClient.ModelClient).layers)
      return yield* result({ ...provider!, name }, offline, (name, message) =>
        warning(name, `${message}: only needed by flows that call ${name}`)
      )
    }),
    { concurrency: "unbounded" }
  )
})

/** Runs the check of a provider. `onMissing` reports that no key is set. */
const result = (
  { check, credentials, name }: LayerAnnotations.NamedProvider,
  offline: boolean,
  onMissing: (name: string, message: string) => Check
): Effect.Effect<Check> => {
  if (credentials?.isSet === false) return Effect.succeed(onMissing(name, `${credentials.name} is not set`))
  const key = credentials === undefined ? "" : `the key from ${credentials.name} is set; `
  if (check === undefined) return Effect.succeed(ok(name, `${key}the provider has no check of its own`))
  if (offline) return Effect.succeed(ok(name, `${key}not contacted`))
  return Effect.suspend(() => check).pipe(
    Effect.timeoutOrElse({
      duration: "15 seconds",
      orElse: () => Effect.succeed(undefined)
    }),
    Effect.match({
      onFailure: (error) => wrong(name, ModelFailure.message(error)),
      onSuccess: (message) =>
        message === undefined ? wrong(name, "its check has not ended within 15 seconds") : ok(name, String(message))
    }),
    // A provider of an author may be wrong itself.
    Effect.catchDefect((defect) => Effect.succeed(wrong(name, `its check fails: ${wordsOf(defect)}`)))
  )
}

const wordsOf = (defect: unknown): string => (defect instanceof Error ? defect.message : String(defect))
