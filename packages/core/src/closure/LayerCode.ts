/**
 * Identifies layers: an author's own by their code and what it captures, including options, and those of packages by
 * what they declare (`answers`).
 *
 * @internal
 */
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import type { LayerInfo } from "../client/ModelClient.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as RequestKey from "../model/RequestKey.ts"
import * as Closure from "./Closure.ts"

type Closures = Pick<Closure.Closures, "of">

export interface OwnLayer {
  readonly layer: LayerInfo
  readonly meaning: Closure.Meaning
}

/** Why a layer of a package that declares nothing cannot be compared: other options or an update would go unnoticed. */
const FOREIGN = "code of a package, or of a bundle"

/** The layers of a stack written by the author, and those of packages that declare nothing, except those that declare that they do not change answers. */
export const own = (layers: ReadonlyArray<LayerInfo>, closures: Closures): ReadonlyArray<OwnLayer> =>
  layers.flatMap((layer) => {
    if (layer.code === undefined || layer.answers === false || LayerAnnotations.get(layer, LayerAnnotations.Paces))
      return []
    const meaning = meaningOf(layer.code, closures)
    const isProvider = LayerAnnotations.get(layer, LayerAnnotations.Provider) !== undefined
    if (!meaning.isOwn) {
      return isProvider || isShown(layer) || layer.answers !== undefined
        ? []
        : [{ layer, meaning: { ...meaning, unknown: new Map([["it", FOREIGN]]) } }]
    }
    return [
      {
        layer,
        meaning: isProvider ? (isDescribed(layer) ? ofDescription : codeAlone)(meaning) : meaning
      }
    ]
  })

/** What the functions of a layer mean together. */
const meaningOf = (code: NonNullable<LayerInfo["code"]>, closures: Closures): Closure.Meaning => {
  if (typeof code === "function") return closures.of(code)
  const meanings = code.map((f) => closures.of(f))
  const numbered = <A>(of: (meaning: Closure.Meaning) => ReadonlyMap<string, A>) =>
    new Map(meanings.flatMap((meaning, at) => Array.from(of(meaning), ([name, value]) => [`${at}: ${name}`, value])))
  return {
    code: meanings.map(({ code }) => code).join("\n"),
    captured: numbered(({ captured }) => captured),
    unknown: numbered(({ unknown }) => unknown),
    at: meanings.find(({ at }) => at !== undefined)?.at,
    isOwn: meanings.some(({ isOwn }) => isOwn)
  }
}

/**
 * A provider captures clients, keys and counters, which change no answer. Its `answers` declare the options that do.
 */
const codeAlone = (meaning: Closure.Meaning): Closure.Meaning => ({
  ...meaning,
  captured: new Map([...meaning.captured].filter(([, text]) => Closure.isCode(text))),
  unknown: new Map()
})

const isDescribed = (layer: LayerInfo): boolean =>
  LayerAnnotations.get(layer, LayerAnnotations.Provider)?.isDescribed === true

/**
 * The functions of a described API, apart from its `send`, capture constants and arguments that change answers. A record
 * with a key in it is left out: what else is in it are options, which the provider declares.
 */
const ofDescription = (meaning: Closure.Meaning): Closure.Meaning => ({
  ...meaning,
  captured: new Map([...meaning.captured].filter(([, text]) => !text.includes("apiKey"))),
  unknown: new Map()
})

/** A text that is equal for equal layers. */
const textOf = ({ layer, meaning }: OwnLayer): string =>
  RequestKey.canonical([layer.name, layer.answers ?? null, meaning.code, Object.fromEntries(meaning.captured)])

/** What layers of packages declare beyond what requests show. */
const declared = (layers: ReadonlyArray<LayerInfo>, closures: Closures): ReadonlyArray<string> =>
  layers.flatMap((layer) => {
    const { answers, code, name } = layer
    const provider = LayerAnnotations.get(layer, LayerAnnotations.Provider)
    const said = provider === undefined ? answers : provider.answers
    return code === undefined
      || said === undefined
      || said === false
      || meaningOf(code, closures).isOwn
      || isShown(layer)
      ? []
      : [RequestKey.canonical([name, said])]
  })

const isShown = (layer: LayerInfo): boolean =>
  LayerAnnotations.get(layer, LayerAnnotations.IsShown) || LayerAnnotations.get(layer, LayerAnnotations.Paces)

/**
 * What layers do to requests and answers that `resolve` does not show, as a hash; empty when there is nothing. Layers
 * above that keep answers add it to their keys.
 */
export const hidden = (layers: ReadonlyArray<LayerInfo>, closures: Closures | undefined): string => {
  const texts =
    closures === undefined
      ? []
      : [
          ...own(layers, closures)
            .filter(({ layer }) => !isShown(layer))
            .map(textOf),
          ...declared(layers, closures)
        ]
  const simulated = LayerAnnotations.find(layers, LayerAnnotations.Simulated)
  if (simulated !== undefined) texts.push(RequestKey.canonical(["simulation", simulated]))
  return texts.length === 0 ? "" : ContentHash.make(texts.join("\n"))
}
