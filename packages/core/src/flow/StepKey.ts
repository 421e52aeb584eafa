/**
 * The content key of what a node means: its name, its version, the source of its functions, and all that shapes what it
 * asks: model, settings, parameters, and the layers of the stack that change answers. Results are found by it and the
 * values of the inputs.
 *
 * **Gotchas** The source of a function does not show what it reads from outside: a helper, a file. The command line adds
 * the code that the functions name (`code`), and what a step would ask is compared with what it asked; a change that
 * neither shows is said by `version`.
 *
 * @since 0.1.0
 */
import type * as Schema from "effect/Schema"
import * as RequestKey from "../data/RequestKey.ts"
import type * as ModelClient from "../seam/ModelClient.ts"
import type * as ModelSettings from "../seam/ModelSettings.ts"
import * as ContentHash from "../store/ContentHash.ts"
import type * as Node from "./Node.ts"

/** What a key is made of, part by part. */
export interface Parts {
  readonly [part: string]: Schema.Json
}

export interface Environment {
  /** Settings of the whole flow. */
  readonly settings: ModelSettings.ModelSettings
  /** Parameters that are not just the place of a file. */
  readonly parameters: ReadonlyMap<string, unknown>
  readonly layers: ReadonlyArray<ModelClient.LayerInfo>
  /** What the code that a node's functions name is, where that is known. */
  readonly code?: ((functions: ReadonlyArray<string>) => string) | undefined
}

/** Version of the form below: a result of another form is never found. */
const FORM = 1

/** The functions that a node is made of, as the author wrote them; `undefined`: its value is always computed. */
export const functionsOf = (kind: Node.Kind): ReadonlyArray<Function> | undefined => {
  switch (kind._tag) {
    case "Step":
      return kind.computed
        ? undefined
        : [
            kind.run,
            kind.varying?.text,
            kind.varying?.reuse?.answer,
            kind.varying?.pack?.answer,
            ...Object.values(kind.quality ?? {})
          ].filter((f) => f !== undefined)
    case "Filter":
      return [kind.keep]
    case "Expand":
      return [kind.run]
    case "Reduce":
      return kind.meaning === undefined ? undefined : [kind.meaning]
    default:
      return undefined
  }
}

/** The parts of a node's key; `undefined` for one whose value is always computed. */
export const parts = (node: Node.Any, environment: Environment): Parts | undefined => {
  const functions = functionsOf(node.kind)
  if (functions === undefined || !("policy" in node.kind)) return undefined
  const { policy } = node.kind
  const sources = functions.map((f) => f.toString())
  const json = (value: unknown): Schema.Json => JSON.parse(RequestKey.canonical(value)) as Schema.Json
  return {
    kind: node.kind._tag,
    version: policy.version ?? "",
    source: ContentHash.make(sources.join("\n")),
    model: policy.model ?? "",
    settings: json([environment.settings, policy.settings ?? {}, ...varyingOf(node.kind)]),
    parameters: json(Object.fromEntries(environment.parameters)),
    stack: json(environment.layers.flatMap(({ answers }) => (answers === undefined ? [] : [answers]))),
    code: environment.code?.(sources) ?? ""
  }
}

/** What of reuse and packs changes answers. */
const varyingOf = (kind: Node.Kind): ReadonlyArray<unknown> => {
  if (kind._tag !== "Step" || kind.varying === undefined) return []
  const { pack, reuse } = kind.varying
  return [{ maxErrorRate: reuse?.maxErrorRate, pack: pack === undefined ? undefined : [pack.size, pack.minAgreement] }]
}

/** The key of what a node asks, whichever models answer: a calibration is one of it. */
export const asked = (node: Node.Any, environment: Omit<Environment, "layers">): string | undefined => {
  const own = parts(node, { ...environment, layers: [] })
  return own === undefined ? undefined : make(node.name, own)
}

/** The key of a node with these parts. */
export const make = (name: string, parts: Parts): string => ContentHash.make(RequestKey.canonical([FORM, name, parts]))

const words: { readonly [part: string]: string } = {
  kind: "is another kind of node",
  version: "has another version",
  source: "has other source",
  model: "names another model",
  settings: "has other settings",
  parameters: "reads other values of the flow's parameters",
  stack: "stands on other layers (a model, a router)",
  code: "names code that has changed"
}

/** What is different between a step now and one before, for people. */
export const difference = (now: Parts, before: Parts): string =>
  Object.keys(words)
    .filter((part) => RequestKey.canonical(now[part]) !== RequestKey.canonical(before[part]))
    .map((part) => words[part])
    .join(" and ") || "is the same"
