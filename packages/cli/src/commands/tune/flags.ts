/** The flags of `pipe tune`. */
import type * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Count from "../../flags/Count.ts"
import type * as ParameterFlags from "../../flags/ParameterFlags.ts"
import * as RunFlags from "../../flags/RunFlags.ts"
import * as Simulate from "../../flags/Simulate.ts"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as Switch from "../../flags/Switch.ts"

const { budget, envFile, quiet } = RunFlags.flags

const isShare = (share: number): boolean => share > 0 && share < 1

export const flags = {
  flow: RunFlags.flow,
  target: Flag.Finite("target").pipe(
    Flag.withMetavar("SHARE"),
    Flag.withDescription("the share of the strong model's quality that is to be kept"),
    Flag.filter(isShare, () => "is between 0 and 1"),
    Flag.withDefault(0.95)
  ),
  sample: Count.make("sample", "rows, drawn by chance, about which every model is asked (300)").pipe(
    Flag.withMetavar("ROWS"),
    Flag.optional
  ),
  delta: Flag.Finite("delta").pipe(
    Flag.withMetavar("SHARE"),
    Flag.withDescription(
      "the probability with which the promise may be wrong (0.05; for --check that of the certificate)"
    ),
    Flag.filter(isShare, () => "is between 0 and 1"),
    Flag.optional
  ),
  check: Switch.make(
    "check",
    "look on other rows whether the routing that is there still keeps its promise; exit code 1 where it does not"
  ),
  seed: Flag.String("seed").pipe(Flag.withDescription("what the sample depends on"), Flag.withDefault("pipe")),
  budget,
  concurrency: RunFlags.concurrency,
  dryRun: Switch.make("dry-run", "write no routing file"),
  svg: Flag.String("svg").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("draw the frontier into this file"),
    Flag.optional
  ),
  html: Flag.String("html").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("write a page of what was found"),
    Flag.optional
  ),
  json: Switch.make("json", "as JSON"),
  quiet,
  store: StoreFlag.flag,
  ...Simulate.flags,
  envFile
}

export type Input = Command.Command.Config.Infer<typeof flags> & ParameterFlags.Given
