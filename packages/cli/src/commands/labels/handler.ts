/** Implements `pipe labels`. */
import { count } from "@pipe/core/internal/Format"
import * as LabelRepo from "@pipe/core/internal/LabelRepo"
import * as SafeText from "@pipe/core/internal/SafeText"
import * as Secret from "@pipe/core/internal/Secret"
import type * as Store from "@pipe/core/Store"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as OpenStore from "../../process/OpenStore.ts"
import * as Table from "../../view/Table.ts"
import type { Input } from "./flags.ts"

const counted = Effect.fnUntraced(function* (
  { labels }: Store.Service,
  flow: string | undefined,
  isSimulated: boolean
) {
  const counts = (yield* labels.counts).filter((one) => flow === undefined || one.flow === flow)
  if (counts.length === 0)
    return yield* Console.log(
      `${flow === undefined ? "no answer" : `no answer of the flow ${SafeText.line(flow)}`} is reviewed${isSimulated ? "" : " in this store (--simulate: those of simulated runs)"}: pipe ui has a queue of answers in doubt`
    )
  const rows = counts.map(({ accepted, corrected, flow, seen, step }) => [
    SafeText.line(flow),
    SafeText.line(step),
    count(accepted),
    count(corrected),
    count(seen)
  ])
  yield* Console.log(
    Table.lines({ header: ["flow", "step", "accepted", "corrected", "skipped"], rows, left: 2 }, { indent: "" }).join(
      "\n"
    )
  )
})

/** Shows how many labels there are, or all of them. */
export const showLabels = (input: Input) =>
  OpenStore.withStore(input, (store) => {
    const flow = Option.getOrUndefined(input.flow)
    return input.json
      ? Stream.runForEach(Stream.filter(store.labels.all(flow), LabelRepo.isLabel), (label) =>
          Console.log(SafeText.json(Secret.json(label)))
        )
      : counted(store, flow, input.simulate)
  })
