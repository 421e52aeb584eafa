/** Every example runs without a key, and its plan is right or says that it cannot know. */
import { assert, describe, it } from "@effect/vitest"
import { Plan, RunEvent } from "@pipe/core"
import { Option } from "effect"
import { readdirSync } from "node:fs"
import { resolve } from "node:path"
import { folder, pipe } from "../../packages/cli/test/Pipe.ts"

const examples = resolve(import.meta.dirname, "..")

/** Lines whose calls were counted are those that came; for all others the plan says what it does not know. */
const assertHonest = (plan: Plan.Plan, { steps }: RunEvent.RunFinished): void => {
  const said = [...(plan.notes ?? []), ...(plan.unreached ?? [])].join("\n")
  for (const { attempts, cost, model, step } of steps) {
    const line = plan.lines.find((line) => line.step === step && line.model === model)
    if (line === undefined || line.counted !== undefined) {
      assert.include(said, step, `${step} ${model} came, and the plan is silent`)
      continue
    }
    // What is said of a step (tools, cascades, reuse) is said instead of a count.
    if (said.includes(`${step}:`)) continue
    assert.strictEqual(line.calls, attempts, `calls of ${step} ${model}`)
    if (line.learnedFrom > 0)
      assert.isTrue(cost >= line.cost!.low && cost <= line.cost!.high, `cost of ${step} ${model}`)
  }
}

describe("every example runs without a key, as planned", { concurrent: false }, () => {
  for (const name of readdirSync(examples).filter((entry) => /^\d\d-(?!reuse)/.test(entry))) {
    it(name, async () => {
      const cwd = folder()
      const flow = resolve(examples, name, "flow.ts")
      const planned = await pipe(["plan", flow, "--simulate", "--json"], { cwd })
      assert.strictEqual(planned.code, 0, planned.stderr)
      const { code, stderr } = await pipe(["run", flow, "--simulate", "--overwrite"], { cwd })
      assert.strictEqual(code, 0, stderr)
      assert.include(stderr, "total cost")
      const { summary } = JSON.parse((await pipe(["report", "--simulate", "--json"], { cwd })).stdout)
      assertHonest(
        Option.getOrThrow(Plan.fromJson(JSON.parse(planned.stdout))),
        Option.getOrThrow(RunEvent.summaryFromJson(summary))
      )
    })
  }
})
