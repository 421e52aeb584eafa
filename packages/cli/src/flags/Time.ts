/** Durations on the command line: 10s, 500ms, 2m, 12h, 30d. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ExitCode from "../process/ExitCode.ts"

const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** Parses the value of a flag, if given. */
export const parse = (
  flag: string,
  given: Option.Option<string>
): Effect.Effect<Duration.Duration | undefined, ExitCode.Failure> => {
  if (Option.isNone(given)) return Effect.undefined
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$/.exec(given.value.trim())
  return match === null
    ? Effect.fail(ExitCode.refuse(`${flag}: ${given.value} is not a duration: write 10s, 500ms, 2m, 12h or 30d`))
    : Effect.succeed(Duration.millis(Number(match[1]) * units[match[2] as keyof typeof units]))
}
