/**
 * A node of a flow: a value that names its inputs by reference, so a graph is acyclic and typed by construction.
 *
 * `Node<A, E, R>` yields an `A` for each row of its domain, can fail with `E`, and requires `R`. `Flow` and `Source`
 * have the constructors.
 *
 * **Example** (the type of the values that a node yields)
 *
 * ```ts
 * import { Flow, type Node, Source } from "@pipe/core"
 *
 * const words = Source.fromIterable("words", ["bee", "hive"])
 * const lengths = Flow.map("lengths", { word: words }, ({ word }) => word.length)
 *
 * export const longest = (values: ReadonlyArray<Node.Value<typeof lengths>>): number => Math.max(...values)
 * longest([3, 4]) // => 4
 * ```
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type * as AnswerCheck from "../answer/AnswerCheck.ts"
import type * as ModelSettings from "../client/ModelSettings.ts"
import type * as RowValues from "../client/RowValues.ts"
import type * as Budget from "../ledger/Budget.ts"
import * as PackSize from "../pack/PackSize.ts"
import type * as Features from "../routing/Features.ts"
import type * as Quality from "../routing/Quality.ts"
import { FlowError } from "./FlowError.ts"
import type * as GroupKey from "./GroupKey.ts"
import * as Parameter from "./Parameter.ts"
import type * as Varying from "./Varying.ts"

export { FlowError } from "./FlowError.ts"

/** Marks nodes. */
export const TypeId = "~@pipe/core/Node" as const

/** A value for each row of a domain. */
export interface Node<out A, out E = never, out R = never> {
  readonly [TypeId]: {
    readonly _A: () => A
    readonly _E: () => E
    readonly _R: () => R
  }
  readonly name: string
  readonly kind: Kind
  /** The rows for which the node has a value: those of a source, an expansion, groups or a join. */
  readonly domain: Domain
}

/** A node of any type. */
export type Any = Node<unknown, unknown, unknown>

/** The value type of a node or of a parameter. */
export type Value<N> =
  N extends Node<infer A, unknown, unknown> ? A : N extends Parameter.Parameter<infer A> ? A : never
/** The errors of a node. */
export type Error<N> = N extends Node<unknown, infer E, unknown> ? E : never
/** The services that a node needs. */
export type Services<N> = N extends Node<unknown, unknown, infer R> ? R : never

/** What a step reads, by name: nodes, and parameters, which are the same for all rows. */
export type Inputs = { readonly [name: string]: Any | Parameter.Any }

/** What a function of these inputs receives. */
export type Values<In extends Inputs> = { readonly [K in keyof In]: Value<In[K]> }

/** The errors of the nodes that a node reads. */
export type InputsError<In extends Inputs> = Error<In[keyof In]>
/** The services that the nodes need which a node reads. */
export type InputsServices<In extends Inputs> = Services<In[keyof In]>

/** Rows that several nodes share. Each row of an expansion belongs to a row of the domain above. */
export interface Domain {
  readonly root: string
  readonly parent: Domain | undefined
}

/**
 * What happens to a row whose step fails. `keep`: the row goes to the errors file with its cause, the others continue,
 * and the run ends with exit code 1. `skip`: the row is dropped and counted. `fail`: the run stops.
 */
export type OnError = "keep" | "skip" | "fail"

/** How a step treats its rows. */
export interface NodePolicy {
  /** Rows of this step processed concurrently. Default: the flow's concurrency. */
  readonly concurrency?: number
  /** Default: `"keep"`. */
  readonly onError?: OnError
  /**
   * The version of the step's meaning. Change it when results must not be reused, and neither the step's code nor its
   * requests show why.
   */
  readonly version?: string
  /**
   * Replaces captured values that cannot be compared (a client, a layer, a stateful instance) in the step's key: plain
   * data that changes when they do. Without it, such a step runs again in every run.
   */
  readonly by?: unknown
  /** The model of this step's calls. A router leaves it as it is. */
  readonly model?: string
  readonly settings?: ModelSettings.ModelSettings
  /** `"keep"` accepts answers that are truncated or empty. Default: `"fail"`. */
  readonly truncated?: "fail" | "keep"
  /** The most that the step may spend in a run. */
  readonly budget?: Budget.BudgetLimits
  /**
   * For plans, where it depends on answers: how many rows an expansion makes of one, or how many calls another node makes
   * for a row. Without it, they come from earlier runs, or the plan says that it has counted the least.
   */
  readonly expect?: number
}

/** The names of all policies. */
export const POLICY: ReadonlySet<string> = new Set<keyof NodePolicy>([
  "concurrency",
  "onError",
  "version",
  "by",
  "model",
  "settings",
  "truncated",
  "budget",
  "expect"
])

/** The text that varies in the calls of a step, computed from the values of its inputs, and how it may be used. */
export interface Varies extends Omit<Varying.Varying, "text"> {
  readonly text: (values: RowValues.Erased) => string
}

/** Defines a good answer of a step, computed from the values of its inputs. */
export interface NodeQuality extends Pick<Quality.Quality, "answer" | "score"> {
  readonly features?: ((values: RowValues.Erased) => Features.Features) | undefined
  readonly check?: ((answer: string, values: RowValues.Erased) => Quality.Verdict) | undefined
  readonly label?: ((values: RowValues.Erased) => unknown) | undefined
}

/** Selects what the functions of a node receive from the record of its inputs. */
export type Subject = ((values: RowValues.Erased) => unknown) | undefined

/** What a node says of its calls beside their requests, computed from the values of its inputs. */
export interface NodeCalls {
  /** The model and the settings of a row, where they depend on it. */
  readonly model: ((values: RowValues.Erased) => string | undefined) | undefined
  readonly settings: ((values: RowValues.Erased) => ModelSettings.ModelSettings) | undefined
  /** The text that varies in its calls from row to row. */
  readonly varying: Varies | undefined
  /** Returns what is wrong with an answer, in words for the model. */
  readonly check: ((answer: string, values: RowValues.Erased) => AnswerCheck.Issues) | undefined
  readonly quality: NodeQuality | undefined
}

/** Calls like those of any other node. */
export const noCalls: NodeCalls = {
  model: undefined,
  settings: undefined,
  varying: undefined,
  check: undefined,
  quality: undefined
}

/** What a node says of its calls: only steps and filters do. */
export const callsOf = ({ kind }: Any): NodeCalls => (kind._tag === "Step" || kind._tag === "Filter" ? kind : noCalls)

/** Whether a node can call a model for a row. */
export const canCall = ({ kind }: Any): boolean =>
  kind._tag === "Step"
    ? !kind.computed
    : kind._tag === "Filter" || kind._tag === "Expand" || (kind._tag === "Reduce" && kind.meaning !== undefined)

/** Whether a step sends the texts of rows together, and equal ones once. */
export const gathers = ({ kind }: Any): boolean => kind._tag === "Step" && kind.gathers

/** The name of a node's kind: a step that only computes is a map. */
export const kindOf = ({ kind }: Any): string => (kind._tag === "Step" && kind.computed ? "Map" : kind._tag)

/** The most texts that a node sends in one prompt. */
export const packSize = (node: Any): number => {
  const size = callsOf(node).varying?.pack?.size ?? 1
  return size === "auto" ? PackSize.SIZES[0] : size
}

/** Rows of an embedding step for each one that is processed concurrently: a request carries many texts. */
const GATHERED = 32

/** The rows of a node that share a request. `packs`: whether the stack packs texts into prompts. */
export const rowsPerRequest = (node: Any, packs: boolean): number =>
  gathers(node) ? GATHERED : packs ? packSize(node) : 1

/** Model and settings of a node's calls; `undefined` when it has none of its own. */
export const settingsOf = ({ model, settings, truncated }: NodePolicy): ModelSettings.ModelSettings | undefined =>
  model === undefined && truncated === undefined
    ? settings
    : {
        ...settings,
        ...(model === undefined ? undefined : { model }),
        ...(truncated === undefined ? undefined : { truncated })
      }

/** A row as a source reads it: a value, or the problem with it. */
export type ReadRow<A> = (
  | { readonly position: string; readonly value: A }
  | { readonly position: string; readonly problem: string; readonly raw: string }
)
  /** How far the row reaches into the source, in the unit of its size, when known. */
  & { readonly offset?: number }

/** The rows of a source, and its size. */
export interface SourceReading<A, E, R> {
  readonly rows: Stream.Stream<ReadRow<A>, E, R>
  /** Bytes for a file, rows for an array; `undefined` when not known. */
  readonly size: number | undefined
}

/** What a node does, with the functions of its author. */
export type Kind =
  | {
      readonly _tag: "Source"
      /** The file or the kind of source, for display. */
      readonly origin: string
      /** Its files, or the parameters that name them; none when it reads something else. */
      readonly paths: ReadonlyArray<unknown>
      readonly onError: OnError
      readonly open: Effect.Effect<SourceReading<unknown, unknown, unknown>, unknown, unknown>
    }
  | ({
      readonly _tag: "Step"
      readonly inputs: Inputs
      readonly run: (values: RowValues.Erased, sample: number) => unknown
      readonly when: ((values: RowValues.Erased) => boolean) | undefined
      readonly samples: number | undefined
      /** What its function receives, and its results are found by; `undefined` for the record of its inputs. */
      readonly subject: Subject
      /** Many rows share a request. */
      readonly gathers: boolean
      /** The author's functions that `run` calls, where it is not one itself. Default: `run`. */
      readonly meaning?: ReadonlyArray<Function>
      /** A plain function, which is cheaper to run again than to keep. */
      readonly computed: boolean
      readonly policy: NodePolicy
    } & NodeCalls)
  | ({
      readonly _tag: "Filter"
      readonly inputs: Inputs
      readonly keep: (values: RowValues.Erased) => boolean | Effect.Effect<boolean, unknown, unknown>
      /** What its functions receive and it yields, from the record of its inputs; `undefined` for the record itself. */
      readonly subject: Subject
      readonly policy: NodePolicy
    } & NodeCalls)
  | {
      readonly _tag: "Expand"
      readonly inputs: Inputs
      readonly run: (values: RowValues.Erased) => Iterable<unknown> | Effect.Effect<Iterable<unknown>, unknown, unknown>
      readonly policy: NodePolicy
    }
  | {
      readonly _tag: "Reduce"
      /** How it was made, for display. */
      readonly word: "reduce" | "group" | "distinct"
      readonly inputs: Inputs
      readonly by: ((values: RowValues.Erased) => GroupKey.GroupKey) | undefined
      readonly initial: () => unknown
      readonly step: (state: RowValues.Erased, values: RowValues.Erased) => unknown
      readonly finish: (state: RowValues.Erased, key: RowValues.Erased, missing: number) => unknown
      /** What becomes of a group that lacks rows, because they have failed. */
      readonly missing: OnMissing | "ignore"
      /** The author's function that `finish` runs; `undefined` when the value is the state. */
      readonly meaning: Function | undefined
      readonly policy: NodePolicy
    }
  | {
      /** What the calls of its inputs cost. */
      readonly _tag: "Cost"
      readonly inputs: Inputs
    }
  | {
      readonly _tag: "Join"
      readonly inputs: Inputs
      /** The first gives the rows, in its order. The second is looked up, and held in memory. */
      readonly sides: readonly [first: JoinSide, second: JoinSide]
      readonly match: Match
    }

/** A side of a join. */
export interface JoinSide {
  /** The name of its value in the joined rows. */
  readonly name: string
  /** Its `value`, and what the key is computed from. */
  readonly inputs: Inputs & { readonly value: Any }
  readonly key: (values: RowValues.Erased) => unknown
  /** The author's function that makes it. */
  readonly by: Function
}

/** How rows of two sides find each other. */
export type Match =
  | {
      readonly _tag: "Key"
      readonly type: "inner" | "left"
      /** What becomes of a row without a partner, where it is dropped. */
      readonly unmatched: OnUnmatched
    }
  | {
      readonly _tag: "Nearest"
      /** The most partners of a row. */
      readonly count: number
      /** The lowest similarity of a partner. */
      readonly atLeast: number
    }

/** `fail` (default): the group fails. `skip`: it has no value. `keep`: its value is that of the other rows, and is marked. */
export type OnMissing = "fail" | "skip" | "keep"

/** `warn` (default): the report counts them, and names the first one. `fail`: they are failed rows. `drop`: nothing. */
export type OnUnmatched = "warn" | "fail" | "drop"

/** The name of a kind: `Source`, `Step`, `Filter`, `Expand`, `Reduce`, `Cost` or `Join`. */
export type Tag = Kind["_tag"]

const variance = {
  _A: (): never => undefined as never,
  _E: (): never => undefined as never,
  _R: (): never => undefined as never
}

/** Where a node was made. A plain property, so that another copy of this package finds it. */
const Site = "~@pipe/core/Node/site"

/** An error created where the node was made; its call stack names the author's file. */
export const siteOf = (node: Any): globalThis.Error | undefined =>
  (node as { readonly [Site]?: globalThis.Error })[Site]

/** Makes a node of a kind; used by the constructors in this folder. */
export const make = <A, E, R>(name: string, kind: Kind, domain: Domain | undefined): Node<A, E, R> => {
  // Calls of a layer for a step are named `step / purpose`.
  if (name.includes(" / ")) throw new FlowError({ message: `a node cannot be named ${name}: " / " is kept for layers` })
  const node: Node<A, E, R> = { [TypeId]: variance, name, kind, domain: domain ?? { root: name, parent: undefined } }
  return Object.defineProperty(node, Site, { value: new globalThis.Error(name) })
}

/** Tests whether a value is a node. */
export const isNode = (value: unknown): value is Any => typeof value === "object" && value !== null && TypeId in value

/** The nodes among inputs. */
export const nodesOf = (inputs: Inputs): ReadonlyArray<Any> => Object.values(inputs).filter(isNode)

/** The nodes that a node reads. */
export const inputsOf = (node: Any): ReadonlyArray<Any> => ("inputs" in node.kind ? nodesOf(node.kind.inputs) : [])

const isAbove = (above: Domain, domain: Domain): boolean => {
  for (let d: Domain | undefined = domain; d !== undefined; d = d.parent) if (d === above) return true
  return false
}

/** The domain in which all inputs have values: the lowest one, below all the others. */
export const commonDomain = (reader: string, inputs: Inputs): Domain => {
  if (isNode(inputs))
    throw new FlowError({
      message: `${reader}: its inputs are a node: name it in a record, such as { ${inputs.name} }`
    })
  const nodes = nodesOf(inputs)
  const other = Object.entries(inputs).find(([, input]) => !isNode(input) && !Parameter.isParameter(input))
  if (other !== undefined)
    throw new FlowError({
      message: `${reader}: its input ${other[0]} is ${Array.isArray(other[1]) ? "a list" : `of type ${typeof other[1]}`}, not a node: a source or another node has a value for each row, and a function can use any other value as it is`
    })
  if (nodes.length === 0) throw new FlowError({ message: `${reader} names no node as its input` })
  let lowest = nodes[0]!
  for (const node of nodes) if (isAbove(lowest.domain, node.domain)) lowest = node
  const stranger = nodes.find((node) => !isAbove(node.domain, lowest.domain))
  if (stranger !== undefined) {
    throw new FlowError({
      message: `${reader} reads ${lowest.name} (rows of ${lowest.domain.root}) and ${stranger.name} (rows of ${
        stranger.domain.root
      }), which have no rows in common: join them with Flow.join`
    })
  }
  return lowest.domain
}
