/**
 * Checks the order of the layers of a stack, as each declares it.
 *
 * @internal
 */
import * as LayerAnnotations from "./LayerAnnotations.ts"
import type { LayerInfo } from "./Service.ts"

type Path = ReadonlyArray<LayerInfo>

/** The ways of a request from the top of a stack to a provider. */
const pathsOf = (layers: Path): ReadonlyArray<Path> => {
  const heads = LayerAnnotations.headsOf(layers)
  const shared = layers.slice(0, heads[0] ?? layers.length)
  return heads.length === 0
    ? [shared]
    : heads.map((head, index) => [...shared, ...layers.slice(head + 1, heads[index + 1] ?? layers.length)])
}

/** Tests whether requests that leave the stack above a layer lose nothing that it does. */
const isBypassable = (layer: LayerInfo): boolean =>
  LayerAnnotations.get(layer, LayerAnnotations.Paces)
  || LayerAnnotations.get(layer, LayerAnnotations.IsShown)
  || LayerAnnotations.get(layer, LayerAnnotations.Provider) !== undefined
  || LayerAnnotations.get(layer, LayerAnnotations.Simulated) !== undefined
  || (layer.answers === false && !LayerAnnotations.get(layer, LayerAnnotations.ChangesAnswers))

const problemIn = (path: Path): string | undefined => {
  for (const [at, layer] of path.entries()) {
    const { above = [], below: beneath = [], leaves, once } = LayerAnnotations.get(layer, LayerAnnotations.Order)
    const below = path.slice(at + 1)
    if (once !== undefined && below.some(({ name }) => name === layer.name)) {
      return `the stack has ${layer.name} twice: ${once}`
    }
    for (const { because, key } of above) {
      const upper = path.slice(0, at).find((other) => LayerAnnotations.get(other, key))
      if (upper !== undefined)
        return `${upper.name} is above ${layer.name}: ${because}. Put ${layer.name} above ${upper.name}`
    }
    for (const { because, key } of beneath) {
      const lower = below.find((other) => LayerAnnotations.get(other, key))
      if (lower !== undefined)
        return `${layer.name} is above ${lower.name}: ${because}. Put ${lower.name} above ${layer.name}`
    }
    const bypassed = leaves === undefined ? undefined : below.find((other) => !isBypassable(other))
    if (bypassed !== undefined)
      return `${layer.name} is above ${bypassed.name}: ${leaves}. Put ${bypassed.name} above ${layer.name}`
  }
  return undefined
}

/** What is wrong with the order of a stack, and the way out; `undefined` when nothing is. */
export const problem = (layers: Path = []): string | undefined => {
  for (const path of pathsOf(layers)) {
    const found = problemIn(path)
    if (found !== undefined) return found
  }
  return undefined
}
