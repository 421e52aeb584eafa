/**
 * What the author's own layers are: their code and what they capture, options among it. A layer of a package is what it says of
 * itself (`answers`).
 *
 * @internal
 */
import { type LayerInfo, SIMULATION } from "../client/ModelClient.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as RequestKey from "../model/RequestKey.ts"
import * as Closure from "./Closure.ts"

type Closures = Pick<Closure.Closures, "of">

export interface OwnLayer {
  readonly layer: LayerInfo
  readonly meaning: Closure.Meaning
}

/** The layers of a stack that the author has written, but for those that say that they leave answers as they are. */
export const own = (layers: ReadonlyArray<LayerInfo>, closures: Closures): ReadonlyArray<OwnLayer> =>
  layers.flatMap((layer) => {
    if (layer.code === undefined || layer.answers === false || layer.paces === true) return []
    const meaning = closures.of(layer.code)
    if (!meaning.isOwn) return []
    return [{ layer, meaning: layer.isProvider === true ? codeAlone(meaning) : meaning }]
  })

/** A provider holds clients, keys and counters, which change no answer: what of its options does, its `answers` say. */
const codeAlone = (meaning: Closure.Meaning): Closure.Meaning => ({
  ...meaning,
  captured: new Map([...meaning.captured].filter(([, text]) => Closure.isCode(text))),
  unknown: new Map()
})

/** What a layer is, as a text that is equal for equal layers. */
const textOf = ({ layer, meaning }: OwnLayer): string =>
  RequestKey.canonical([layer.name, layer.answers ?? null, meaning.code, Object.fromEntries(meaning.captured)])

/**
 * What layers do to requests and answers that `resolve` does not show, as a hash; empty where there is nothing of that kind. What
 * stands above them and keeps answers has it in its keys.
 */
export const hidden = (layers: ReadonlyArray<LayerInfo>, closures: Closures | undefined): string => {
  const texts =
    closures === undefined
      ? []
      : own(layers, closures)
          .filter(({ layer }) => layer.isShown !== true)
          .map(textOf)
  for (const { answers, name } of layers) if (name === SIMULATION) texts.push(RequestKey.canonical([name, answers]))
  return texts.length === 0 ? "" : ContentHash.make(texts.join("\n"))
}
