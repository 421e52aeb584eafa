/**
 * What a step or a filter says of its calls beside their requests: model, settings, what varies, and what makes an answer good.
 *
 * @internal
 */
import type * as AnswerCheck from "../answer/AnswerCheck.ts"
import type * as ModelSettings from "../client/ModelSettings.ts"
import * as OptionNames from "../client/OptionNames.ts"
import type * as RowValues from "../client/RowValues.ts"
import type * as Budget from "../ledger/Budget.ts"
import type * as Features from "../routing/Features.ts"
import type * as Quality from "../routing/Quality.ts"
import * as Node from "./Node.ts"
import type * as Varying from "./Varying.ts"

/** Options of a node that calls models. `V` is what its function receives. */
export interface CallOptions<V, A = string> extends Omit<Node.NodePolicy, "model" | "settings"> {
  /** The model of this step's calls, or a function of the row that returns it. A router leaves it as it is. */
  readonly model?: string | ((values: V) => string | undefined)
  /** The settings of this step's calls, or a function of the row that returns them. */
  readonly settings?: ModelSettings.ModelSettings | ((values: V) => ModelSettings.ModelSettings)
  /**
   * The text that differs from row to row, exactly as it appears in the prompt: `reuse` compares it, and `pack` groups
   * it.
   */
  readonly varies?: (values: V) => string
  /** Reuses answers for texts that mean the same, within an error rate. The stack needs `SemanticCache.layer`. */
  readonly reuse?: Varying.Reuse
  /** Sends several texts in one prompt. The stack needs `Pack.layer`. */
  readonly pack?: Varying.Pack
  /**
   * Returns what is wrong with an answer, in words for the model: one sentence or several. `Retry.layer({ reasks })`
   * sends the request again with them. `true` or `undefined` accepts the answer.
   *
   * It reads the text of each answer; for `generateObject` that is JSON which fits the schema. A rule about the value
   * alone belongs in the schema (`Schema.makeFilter`).
   */
  readonly check?: (answer: string, values: V) => AnswerCheck.Issues
  /**
   * Defines a good answer. `Cascade.layer` uses it to decide whether a cheaper model's answer is accepted, and `pipe
   * tune` to measure quality.
   */
  readonly quality?: CallQuality<V, A>
}

/** Defines a good answer of a node's calls. `A` is what `answer` returns: the text itself without it. See `Quality`. */
export interface CallQuality<V, A = string> {
  /**
   * Extracts what counts when two answers are compared. Default: the whole answer; JSON is compared regardless of key
   * order.
   */
  readonly answer?: (text: string) => A
  /**
   * How good an answer is compared with the correct one, or with the strong model's, from 0 to 1. Default: 1 when they
   * are equal, otherwise 0.
   */
  readonly score?: (answer: NoInfer<A>, reference: NoInfer<A>) => number | boolean
  /** Facts about the row that may tell how hard it is: numbers, words, booleans. */
  readonly features?: (values: V) => Features.Features
  /**
   * Reads the text of an answer and returns whether it is good, how good it is from 0 to 1, or facts for a trained
   * score.
   */
  readonly check?: (answer: string, values: V) => Quality.Verdict
  /**
   * The correct answer, in the form that `answer` returns. `undefined` when it is not known for the row: the strong
   * model's answer is then the reference.
   */
  readonly label?: (values: V) => NoInfer<A> | undefined
}

const NAMES = ["varies", "reuse", "pack", "check", "quality"] satisfies ReadonlyArray<keyof CallOptions<unknown>>

const LIMITS: ReadonlyArray<keyof Budget.Options> = ["usd", "tokens", "onExceeded"]

/** Throws for an option of a budget that does not exist. */
export const checkBudget = (what: string, budget: Budget.Options | undefined): void => {
  if (budget === undefined) return
  OptionNames.check(what, budget, [...LIMITS, "models", "steps"])
  for (const [model, limits] of Object.entries(budget.models ?? {}))
    OptionNames.check(`${what} for ${model}`, limits, LIMITS)
}

/** Throws for numbers with which no row could run or no call could be made. */
export const checkCalls = (
  what: string,
  { concurrency, expect, settings = {} }: Pick<Node.NodePolicy, "concurrency" | "expect" | "settings">
): void => {
  OptionNames.checkNumbers(
    what,
    { concurrency, expect },
    { concurrency: OptionNames.COUNT, expect: { ...OptionNames.ABOVE_0, most: Number.MAX_SAFE_INTEGER } }
  )
  OptionNames.checkNumbers(`the settings of ${what}`, settings, {
    temperature: OptionNames.FROM_0,
    topP: OptionNames.SHARE,
    maxTokens: OptionNames.COUNT,
    dimensions: OptionNames.COUNT
  })
}

const varyingOf = (
  what: string,
  { pack, reuse, varies }: Pick<CallOptions<RowValues.Erased>, "pack" | "reuse" | "varies">
): Node.Varies | undefined => {
  const isShare = (share: number | undefined): boolean => share === undefined || (share >= 0 && share <= 1)
  const problems: ReadonlyArray<readonly [isWrong: boolean, problem: string]> = [
    [varies === undefined && reuse !== undefined, "reuse needs `varies`, the text that may differ"],
    [varies === undefined && pack !== undefined, "pack needs `varies`, the text that may differ"],
    [
      reuse !== undefined && !(reuse.maxErrorRate > 0 && reuse.maxErrorRate < 1),
      "reuse needs a `maxErrorRate` between 0 and 1"
    ],
    [!isShare(reuse?.audit), "reuse needs an `audit` between 0 and 1"],
    [
      pack !== undefined
        && pack.size !== "auto"
        && !(Number.isInteger(pack.size) && pack.size >= 1 && pack.size <= 1_000),
      'pack needs a `size` from 1 to 1,000, or "auto"'
    ],
    [!isShare(pack?.minAgreement), "pack needs a `minAgreement` between 0 and 1"],
    [!isShare(pack?.audit), "pack needs an `audit` between 0 and 1"]
  ]
  const found = problems.find(([isWrong]) => isWrong)
  if (found !== undefined) throw new Node.FlowError({ message: `${what}: a step with ${found[1]}` })
  return varies === undefined ? undefined : { text: varies, reuse, pack }
}

/** Throws for options of a node that calls no model by itself, or whose calls are as any other. */
export const checkPolicy = (what: string, options: Node.NodePolicy): void => {
  OptionNames.check(what, options, Node.POLICY)
  checkBudget(`the budget of ${what}`, options.budget)
  checkCalls(what, options)
}

/** Reads the options of a node, and throws for those that cannot hold. `more` names options of its own. */
export const read = (
  what: string,
  options: CallOptions<RowValues.Erased, RowValues.Erased>,
  more: ReadonlyArray<string> = []
): { readonly policy: Node.NodePolicy; readonly calls: Node.NodeCalls } => {
  OptionNames.check(what, options, [...Node.POLICY, ...NAMES, ...more])
  checkBudget(`the budget of ${what}`, options.budget)
  const named = Object.entries(options).filter(([name]) => Node.POLICY.has(name))
  const { model, settings, ...others } = Object.fromEntries(named) as Pick<
    CallOptions<RowValues.Erased>,
    keyof Node.NodePolicy
  >
  const policy: Node.NodePolicy = {
    ...others,
    ...(typeof model === "string" ? { model } : undefined),
    ...(typeof settings === "object" ? { settings } : undefined)
  }
  checkCalls(what, policy)
  return {
    policy,
    calls: {
      model: typeof model === "function" ? model : undefined,
      settings: typeof settings === "function" ? settings : undefined,
      varying: varyingOf(what, options),
      check: options.check,
      quality: options.quality
    }
  }
}
