/** Implements `pipe plan`. */
import * as Plan from "@pipe/core/Plan"
import * as Runner from "@pipe/core/Runner"
import * as Source from "@pipe/core/Source"
import * as Store from "@pipe/core/Store"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { relative, resolve } from "node:path"
import * as ExitCode from "../../process/ExitCode.ts"
import * as Heap from "../../process/Heap.ts"
import * as Host from "../../process/Host.ts"
import * as LoadFlow from "../../process/LoadFlow.ts"
import * as Output from "../../process/Output.ts"
import * as PlanText from "../../view/PlanText.ts"
import * as View from "../../view/View.ts"
import type { Input } from "./flags.ts"

/** Plans a flow, after a sample of its rows if requested. */
export const planFlow = Effect.fnUntraced(function* (input: Input) {
  const flow = yield* LoadFlow.load(input.flow)
  const parameters = yield* Host.parametersOf(flow, input)
  const file = relative(process.cwd(), resolve(input.flow))
  yield* Heap.settle()
  const view = View.make(input.json ? "quiet" : "plain", yield* Output.Output)
  const limit = Option.isSome(input.limit) ? { limit: input.limit.value } : undefined
  const planned = Effect.gen(function* () {
    if (Option.isSome(input.sample)) {
      const summary = yield* Runner.run(flow, {
        parameters,
        // The user waits for the sample.
        batch: "off",
        limit: Math.min(input.sample.value, limit?.limit ?? Number.POSITIVE_INFINITY),
        outputs: false,
        cache: !input.noCache,
        record: { file, parameters, limit: input.sample.value, simulate: input.simulate }
      })
      if (!input.json) view.note(PlanText.sampled(summary))
    }
    const plan = yield* Plan.make(flow, {
      parameters,
      ...limit,
      cache: !input.noCache,
      ...(input.batch ? { batch: true } : undefined)
    })
    const store = yield* Store.Store
    const identity = Host.identityOf({ file, flow: flow.name, parameters, limit: limit?.limit })
    yield* Effect.ignore(store.runs.savePlan(identity, Plan.toJson(plan)))
    return plan
  })
  // A sample reads the rows, and the plan reads them again.
  const work = Option.isNone(input.sample)
    ? planned
    : Effect.flatMap(Source.rereadable, (sources) => Effect.provideContext(planned, sources))
  const plan = yield* Effect.provide(Effect.scoped(work), Host.layer({ ...input, view })).pipe(
    Effect.mapError((error) => ExitCode.refuse(error.message))
  )
  yield* Console.log(input.json ? JSON.stringify(Plan.toJson(plan)) : PlanText.render(plan))
})
