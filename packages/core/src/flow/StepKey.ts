/**
 * The content key of a node: its name, its version, its functions, and everything that shapes its requests (model,
 * settings, parameters, and the layers of the stack that change answers). Results are found by this key and the values
 * of the inputs.
 *
 * **Details** A function is identified by its code and the values it captures, including those of captured functions. A
 * value that cannot be compared leaves the node without a key, so its results are not reused, unless `by` replaces it.
 * The requests of a step are compared with those it sent for an earlier row; a change that none of this shows (a file
 * that is read for each row) needs a new `version`.
 *
 * @internal
 */
import type * as Schema from "effect/Schema"
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import type * as ModelClient from "../client/ModelClient.ts"
import type * as ModelSettings from "../client/ModelSettings.ts"
import * as Closure from "../closure/Closure.ts"
import * as LayerCode from "../closure/LayerCode.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as RequestKey from "../model/RequestKey.ts"
import * as Node from "./Node.ts"

/** What a key is made of, part by part. `at`, where the node was made, is not part of the key. */
export interface StepKeyParts {
  readonly [part: string]: Schema.Json
}

export interface StepKeyEnvironment {
  /** Settings of the whole flow. */
  readonly settings: ModelSettings.ModelSettings
  /** Parameters that every step depends on, as their schemas have them in JSON. */
  readonly parameters: ReadonlyMap<string, unknown>
  readonly layers: ReadonlyArray<ModelClient.LayerInfo>
  /** Describes the flow's services as text; `undefined` when they cannot be compared. */
  readonly services?: string | undefined
  /** Identifies the author's functions. */
  readonly closures: Pick<Closure.Closures, "of" | "textOf">
}

/** Version of the format below. Results stored under another version are never found. */
const FORM = 2

const functionsOfCalls = (calls: Node.NodeCalls): ReadonlyArray<readonly [name: string, f: Function]> =>
  [
    ["varies", calls.varying?.text] as const,
    ["reuse", calls.varying?.reuse?.answer] as const,
    ["pack", calls.varying?.pack?.answer] as const,
    ["answer check", calls.check] as const,
    ["model", calls.model] as const,
    ["settings", calls.settings] as const,
    ...Object.entries(calls.quality ?? {})
  ].flatMap(([name, f]) => (typeof f === "function" ? [[name, f] as const] : []))

/** The author's functions in a node, by purpose; `undefined` when its value is always computed. */
const functionsOf = (kind: Node.Kind): ReadonlyArray<readonly [name: string, f: Function]> | undefined => {
  switch (kind._tag) {
    case "Step":
      if (kind.computed) return undefined
      // The vector of a text depends on the text alone.
      if (kind.gathers) return []
      return [...(kind.meaning ?? [kind.run]).map((f) => ["", f] as const), ...functionsOfCalls(kind)]
    case "Filter":
      return [["", kind.keep], ...functionsOfCalls(kind)]
    case "Expand":
      return [["", kind.run]]
    case "Reduce":
      return kind.meaning === undefined ? undefined : [["", kind.meaning]]
    default:
      return undefined
  }
}

/** Identifies the functions of a node. */
export interface Code {
  readonly source: string
  readonly captured: { readonly [name: string]: string }
  /** Captured values that cannot be compared, by their access path. */
  readonly unknown: ReadonlyMap<string, string>
  /** Where the node was made: `flow.ts:7`. */
  readonly at: string | undefined
}

/** Identifies the functions of a node; `undefined` when its value is always computed. */
export const codeOf = (kind: Node.Kind, closures: StepKeyEnvironment["closures"]): Code | undefined => {
  const functions = functionsOf(kind)
  if (functions === undefined) return undefined
  const captured: Record<string, string> = {}
  const unknown = new Map<string, string>()
  let at: string | undefined
  const codes = functions.map(([use, f]) => {
    const meaning = closures.of(f)
    at ??= meaning.at
    for (const [name, what] of meaning.unknown) unknown.set(name, what)
    for (const [name, text] of meaning.captured) captured[use === "" ? name : `${use}: ${name}`] = text
    return [use, meaning.code]
  })
  return { source: ContentHash.make(RequestKey.canonical(codes)), captured, unknown, at }
}

/** The parts of a node's key; `undefined` when its value is always computed. */
export const parts = (node: Node.Any, environment: StepKeyEnvironment): StepKeyParts | undefined => {
  const code = codeOf(node.kind, environment.closures)
  if (code === undefined || !("policy" in node.kind)) return undefined
  const { policy } = node.kind
  if (code.unknown.size > 0 && policy.by === undefined) return undefined
  const captured: Record<string, string> = { ...code.captured }
  const names: Array<string> = []
  const own = new Map<ModelClient.LayerInfo, string>()
  for (const { layer, meaning } of LayerCode.own(environment.layers, environment.closures)) {
    // What a layer declares replaces what cannot be compared.
    if (meaning.unknown.size > 0 && layer.answers === undefined) return undefined
    // Layers with the same name are told apart by position.
    const times = names.push(layer.name) - names.indexOf(layer.name)
    const name = times === 1 ? layer.name : `${layer.name} (${times})`
    own.set(layer, name)
    captured[`layer ${name}`] = Closure.codeText(meaning.code)
    for (const [way, text] of meaning.captured) captured[`${way} of layer ${name}`] = text
  }
  const json = (value: unknown): Schema.Json => JSON.parse(RequestKey.canonical(value)) as Schema.Json
  return {
    kind: node.kind._tag,
    version: policy.version ?? "",
    source: code.source,
    captured,
    by: json(policy.by ?? null),
    ...(environment.services === undefined ? undefined : { services: ContentHash.make(environment.services) }),
    model: policy.model ?? "",
    settings: json([
      environment.settings,
      policy.truncated === undefined ? (policy.settings ?? {}) : { ...policy.settings, truncated: policy.truncated },
      ...varyingOf(node)
    ]),
    parameters: json(Object.fromEntries(environment.parameters)),
    // The order matters: a layer above a router differs from the same layer below it.
    stack: json(
      environment.layers.flatMap((layer) => {
        const { answers } = layer
        const namespace = LayerAnnotations.get(layer, LayerAnnotations.Namespace)
        const endpoint = LayerAnnotations.get(layer, LayerAnnotations.Provider)?.endpoint
        const name = own.get(layer)
        return [
          ...(name === undefined ? [] : [{ own: name }]),
          ...(answers === undefined || answers === false ? [] : [answers]),
          ...(namespace === undefined ? [] : [{ namespace }]),
          ...(endpoint === undefined ? [] : [{ endpoint }])
        ]
      })
    ),
    ...(code.at === undefined ? undefined : { at: code.at })
  }
}

/** The parts of `reuse` and `pack` that change answers. */
const varyingOf = (node: Node.Any): ReadonlyArray<unknown> => {
  const { varying } = Node.callsOf(node)
  if (varying === undefined) return []
  const { pack, reuse } = varying
  return [{ maxErrorRate: reuse?.maxErrorRate, pack: pack === undefined ? undefined : [pack.size, pack.minAgreement] }]
}

/** The key of a node's requests, whichever models answer. A calibration belongs to this key. */
export const withoutLayers = (node: Node.Any, environment: Omit<StepKeyEnvironment, "layers">): string | undefined => {
  const own = parts(node, { ...environment, layers: [] })
  return own === undefined ? undefined : make(node.name, own)
}

/** The key of a node with these parts. */
export const make = (name: string, { at: _, ...parts }: StepKeyParts): string =>
  ContentHash.make(RequestKey.canonical([FORM, name, parts]))

const words: { readonly [part: string]: string } = {
  kind: "is another kind of node",
  version: "has another version",
  source: "has other code",
  by: "has another `by`",
  services: "has other services (the flow's `services`)",
  model: "names another model",
  settings: "has other settings",
  parameters: "depends on other parameter values",
  stack: "uses other layers (a model, a router, an address)"
}

/** The most captured values named in a difference. */
const NAMED = 3

/** The parts and captured values that differ, by name. */
const differing = (now: StepKeyParts, before: StepKeyParts) => {
  const captures = ({ captured }: StepKeyParts) => (captured ?? {}) as { readonly [name: string]: string }
  const [to, from] = [captures(now), captures(before)]
  return {
    parts: Object.keys(words).filter((part) => RequestKey.canonical(now[part]) !== RequestKey.canonical(before[part])),
    captured: [...new Set([...Object.keys(to), ...Object.keys(from)])].flatMap((name) =>
      to[name] === from[name]
        ? []
        : [
            {
              name,
              ...(from[name] === undefined ? undefined : { from: from[name] }),
              ...(to[name] === undefined ? undefined : { to: to[name] })
            }
          ]
    )
  }
}

/** The earlier version of a step that is most similar to the current one; the first of equals. */
export const nearest = <A extends { readonly parts: StepKeyParts }>(
  now: StepKeyParts,
  before: ReadonlyArray<A>
): A | undefined => {
  const distance = ({ parts }: A): number => {
    const { captured, parts: other } = differing(now, parts)
    return other.length + captured.length
  }
  return before.reduce<A | undefined>(
    (best, one) => (best === undefined || distance(one) < distance(best) ? one : best),
    undefined
  )
}

const isCode = (text: string | undefined) => text !== undefined && Closure.isCode(text)

/** The old and the new value of a captured variable. Long values and possible secrets are not shown. */
const changeOf = ({
  from,
  name,
  to
}: {
  readonly name: string
  readonly from?: string
  readonly to?: string
}): string => {
  if (isCode(from) && isCode(to)) return `${name} has other code`
  if (from === undefined) return Closure.isShown(to!) ? `${name} is new: ${to}` : `${name} is new`
  if (to === undefined) return `${name} is gone`
  const [was, is] = [from, to].map((text) => (Closure.isShown(text) ? text : "(not shown)"))
  return was === is ? `${name} has changed` : `${name}: ${was} → ${is}`
}

/** Describes how a step differs from an earlier version, for display. */
export const difference = (now: StepKeyParts, before: StepKeyParts): string => {
  const { captured, parts } = differing(now, before)
  const named = captured.slice(0, NAMED).map(changeOf)
  const more = captured.length > NAMED ? ["…"] : []
  const at = typeof now["at"] === "string" ? `, ${now["at"]}` : ""
  return (
    [
      ...parts.map((part) => words[part]!),
      ...(named.length === 0 ? [] : [`captures other values (${[...named, ...more].join(", ")}${at})`])
    ].join(" and ") || "is the same"
  )
}
