/** Schemas as authors write them, made at random. */
import { Effect, Schema } from "effect"
import { patterns, type Random } from "./Samples.ts"

type Any = Schema.Codec<any, any>

class Address extends Schema.Class<Address>("@app/Address")({ street: Schema.String, number: Schema.Number }) {}

const Shared = Schema.Struct({ code: Schema.String }).annotate({ identifier: "Shared", description: "a shared part" })

interface Tree {
  readonly name: string
  readonly children: ReadonlyArray<Tree>
}

const Tree = Schema.Struct({
  name: Schema.String,
  children: Schema.Array(Schema.suspend((): Schema.Codec<Tree> => Tree))
}).annotate({ identifier: "Tree" })

/** What a schema may have. */
export interface Kinds {
  /** Ranges of numbers and numbers of items: not every provider holds them. */
  readonly ranges: boolean
  readonly recursion: boolean
  /** Texts that are URLs. */
  readonly urls: boolean
}

const leaf = (next: Random, { ranges, recursion, urls }: Kinds): Any => {
  const leaves: ReadonlyArray<() => Any> = [
    () => Schema.String,
    () => Schema.Number,
    () => Schema.Finite,
    () => Schema.Int,
    () => Schema.Boolean,
    () => Schema.Null,
    () => Schema.Literals(["a", "b", "c"]),
    () => Schema.Literals([1, 2, 3]),
    () => Schema.Literals(["a", 1]),
    () => Schema.Date,
    () => Schema.DateTimeUtc,
    ...(urls ? [() => Schema.URL] : []),
    () => Schema.BigInt,
    () => Schema.NullOr(Schema.Number),
    () => Schema.UndefinedOr(Schema.String),
    () => Schema.Option(Schema.String),
    () => Schema.Enum({ Low: "low", High: "high" }),
    () => Schema.String.annotate({ description: "in a few words" }),
    () => Schema.String.check(Schema.isPattern(new RegExp([...patterns.keys()][next(3)]!))),
    () => Schema.Struct({}),
    () => Address,
    () => Shared,
    () => Schema.Struct({ shared: Shared, again: Shared.annotateKey({ description: "another" }) }),
    ...(recursion ? [() => Tree] : []),
    ...(ranges
      ? [
          () => Schema.Number.check(Schema.isBetween({ minimum: -3, maximum: 7 })),
          () => Schema.Int.check(Schema.isGreaterThanOrEqualTo(1), Schema.isLessThanOrEqualTo(5)),
          () => Schema.Array(Schema.String).check(Schema.isMinLength(2), Schema.isMaxLength(3)),
          () => Schema.Tuple([Schema.Number, Schema.Number])
        ]
      : [])
  ]
  return leaves[next(leaves.length)]!()
}

const field = (next: Random, kinds: Kinds, depth: number): Schema.Struct.Fields[string] => {
  const type = make(next, kinds, depth)
  switch (next(6)) {
    case 0:
      return Schema.optional(type)
    case 1:
      return Schema.optionalKey(type)
    case 2:
      return Schema.String.pipe(Schema.withDecodingDefaultKey(Effect.succeed("default")))
    default:
      return type
  }
}

const struct = (next: Random, kinds: Kinds, depth: number) =>
  Schema.Struct(
    Object.fromEntries(
      Array.from({ length: 1 + next(4) }, (_, index) => [
        ["name", "value", "key", "0", "with space", "größe"][next(6)]! + index,
        field(next, kinds, depth - 1)
      ])
    ) as Schema.Struct.Fields
  )

/** A schema of any kind. */
export const make = (next: Random, kinds: Kinds, depth = 3): Any => {
  if (depth === 0) return leaf(next, kinds)
  switch (next(9)) {
    case 0:
      return Schema.Array(make(next, kinds, depth - 1))
    case 1:
      return Schema.NonEmptyArray(make(next, kinds, depth - 1))
    case 2:
      return Schema.Record(Schema.String, make(next, kinds, depth - 1))
    case 3:
      return Schema.Tuple([make(next, kinds, depth - 1), Schema.Boolean])
    case 4:
      return Schema.ReadonlyMap(Schema.String, make(next, kinds, depth - 1))
    case 5:
      return Schema.Union([
        Schema.TaggedStruct("A", { value: make(next, kinds, depth - 1) }),
        Schema.TaggedStruct("B", { other: Schema.optionalKey(make(next, kinds, depth - 1)) })
      ])
    case 6:
      return leaf(next, kinds)
    default:
      return struct(next, kinds, depth) as unknown as Any
  }
}
