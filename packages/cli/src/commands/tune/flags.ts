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
    Flag.withDescription("the share of the strong model's quality to keep"),
    Flag.filter(isShare, () => "is between 0 and 1"),
    Flag.withDefault(0.95)
  ),
  sample: Count.make("sample", "random rows for which every model is called (default 300)").pipe(
    Flag.withMetavar("ROWS"),
    Flag.optional
  ),
  delta: Flag.Finite("delta").pipe(
    Flag.withMetavar("SHARE"),
    Flag.withDescription(
      "the highest probability that the guarantee is wrong (default 0.05; for --check, that of the certificate)"
    ),
    Flag.filter(isShare, () => "is between 0 and 1"),
    Flag.optional
  ),
  check: Switch.make(
    "check",
    "check on other rows whether the existing routing still keeps its guarantee; exit code 1 if not"
  ),
  seed: Flag.String("seed").pipe(Flag.withDescription("the seed of the sample"), Flag.withDefault("pipe")),
  budget,
  concurrency: RunFlags.concurrency,
  dryRun: Switch.make("dry-run", "do not write a routing file"),
  svg: Flag.String("svg").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("write the frontier to this SVG file"),
    Flag.optional
  ),
  html: Flag.String("html").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("write the results as a page"),
    Flag.optional
  ),
  json: Switch.make("json", "as JSON"),
  quiet,
  store: StoreFlag.flag,
  storePatience: StoreFlag.patience,
  ...Simulate.flags,
  envFile
}

export type Input = Command.Command.Config.Infer<typeof flags> & ParameterFlags.Given
