/**
 * The vector of a text for each row.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as Effect from "effect/Effect"
import type * as RowValues from "../client/RowValues.ts"
import * as CallOptions from "./CallOptions.ts"
import * as Node from "./Node.ts"

/** Options of an embedding step. */
export interface EmbedOptions extends Omit<Node.NodePolicy, "truncated" | "expect"> {
  /** The number of dimensions, for models that can shorten their vectors. Default: the model's. */
  readonly dimensions?: number
}

const vectorOf = (
  text: unknown
): Effect.Effect<ReadonlyArray<number>, AiError.AiError, EmbeddingModel.EmbeddingModel> =>
  typeof text === "string"
    ? Effect.flatMap(EmbeddingModel.EmbeddingModel, (model) => Effect.map(model.embed(text), ({ vector }) => vector))
    : Effect.die(new Node.FlowError({ message: `the function of the embedding returns ${typeof text}, not a text` }))

/**
 * Computes the vector of a text for each row, with the provider's model for `embeddings`.
 *
 * Texts of many rows go in one request, equal texts once. A vector is kept by its text: an edited row whose text is the
 * same needs no call.
 */
export const embed = <In extends Node.Inputs>(
  name: string,
  inputs: In,
  text: (values: Node.Values<In>) => string,
  options: EmbedOptions = {}
): Node.Node<
  ReadonlyArray<number>,
  AiError.AiError | Node.InputsError<In>,
  EmbeddingModel.EmbeddingModel | Node.InputsServices<In>
> => {
  const { dimensions, settings, ...others } = options
  const { calls, policy } = CallOptions.read(`embedding ${name}`, {
    ...others,
    ...(dimensions === undefined && settings === undefined
      ? undefined
      : { settings: { ...settings, ...(dimensions === undefined ? undefined : { dimensions }) } })
  })
  return Node.make(
    name,
    {
      _tag: "Step",
      inputs,
      run: ({ text }: RowValues.Erased) => vectorOf(text),
      when: undefined,
      samples: undefined,
      subject: (values: Node.Values<In>) => ({ text: text(values) }),
      gathers: true,
      ...calls,
      computed: false,
      policy
    },
    Node.commonDomain(`embedding ${name}`, inputs)
  )
}
