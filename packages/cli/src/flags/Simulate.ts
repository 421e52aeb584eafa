/** The flags of simulated runs: whether, with which answers, how slowly, and with which faults. */
import type * as Simulator from "@pipe/plugins/Simulator"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ExitCode from "../process/ExitCode.ts"
import * as Switch from "./Switch.ts"
import * as Time from "./Time.ts"

const FAULTS = ["rateLimit", "serverError", "brokenJson", "drop", "wrongSchema", "flexUnavailable"] as const

export const flags = {
  simulate: Switch.make("simulate", "use a simulator on this machine: no key, no cost, separate outputs"),
  simulateSeed: Flag.String("simulate-seed").pipe(
    Flag.withMetavar("TEXT"),
    Flag.withDescription("the seed of simulated answers (default pipe)"),
    Flag.optional
  ),
  simulateLatency: Flag.String("simulate-latency").pipe(
    Flag.withMetavar("TIME"),
    Flag.withDescription("the latency of a simulated answer (default 20ms)"),
    Flag.optional
  ),
  simulateFaults: Flag.String("simulate-faults").pipe(
    Flag.withMetavar("SHARES"),
    Flag.withDescription(`shares of simulated calls that fail: rateLimit=0.1,serverError=0.05 (${FAULTS.join(", ")})`),
    Flag.optional
  )
}

export interface Input {
  readonly simulate: boolean
  readonly simulateSeed?: Option.Option<string>
  readonly simulateLatency?: Option.Option<string>
  readonly simulateFaults?: Option.Option<string>
}

const LATENCY = Duration.millis(20)

/** The options of the simulator; `undefined` for a real run. */
export const options = Effect.fnUntraced(function* (
  input: Input
): Effect.fn.Return<Simulator.Options | undefined, ExitCode.Failure> {
  const { simulateFaults = Option.none(), simulateLatency = Option.none(), simulateSeed = Option.none() } = input
  if (!input.simulate) {
    for (const [flag, given] of [
      ["--simulate-seed", simulateSeed],
      ["--simulate-latency", simulateLatency],
      ["--simulate-faults", simulateFaults]
    ] as const) {
      if (Option.isSome(given)) return yield* ExitCode.refuse(`${flag} requires --simulate: add it`)
    }
    return undefined
  }
  const latency = yield* Time.parse("--simulate-latency", simulateLatency)
  return {
    latency: latency ?? LATENCY,
    faults: yield* faultsOf(simulateFaults),
    ...(Option.isSome(simulateSeed) ? { seed: simulateSeed.value } : undefined)
  }
})

const faultsOf = Effect.fnUntraced(function* (given: Option.Option<string>) {
  if (Option.isNone(given)) return {}
  const faults: { [fault: string]: number } = {}
  for (const part of given.value.split(",")) {
    const [name = "", text = ""] = part.split("=").map((word) => word.trim())
    const share = Number(text)
    if (!FAULTS.some((fault) => fault === name) || text === "" || !(share >= 0 && share <= 1)) {
      return yield* ExitCode.refuse(
        `--simulate-faults: ${part} is not the share of a fault, such as serverError=0.1; the faults are ${FAULTS.join(", ")}`
      )
    }
    faults[name] = share
  }
  return faults
})
