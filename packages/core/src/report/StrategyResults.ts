/**
 * The results of a run's strategies besides money: answers reused by meaning, packed prompts, routed requests; over all
 * attempts of a run.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as ModelClient from "../client/ModelClient.ts"
import * as Format from "../encoding/Format.ts"
import * as Cascade from "../routing/Cascade.ts"
import * as Certificate from "../routing/Certificate.ts"
import type * as RouteRepo from "../routing/RouteRepo.ts"
import type * as Routing from "../routing/Routing.ts"
import type * as RunEvent from "../run/RunEvent.ts"
import * as Binomial from "../stats/Binomial.ts"
import type * as Store from "../store/Store.ts"

export type RunSavings = Pick<RunEvent.RunFinished, "reuse" | "packs" | "routes">

/** The probability of each tail. */
const TAIL = 0.025

/** How far the answers of a step agree with the strong model's. The strong model's own answers agree. */
const routesOf = (
  { agreements, requests, step, strong, substituted }: RouteRepo.RouteSums,
  routing: Routing.Routing | undefined
): RunEvent.Routes => {
  // Whether an answer given instead of the strong model's agrees with it is unknown.
  const cheap = requests === substituted ? 0 : (requests - strong) / (requests - substituted)
  const overall = (agreement: number): number => 1 - cheap * (1 - agreement)
  const audited = agreements.length
  const certificate = routing?.steps[step]?.certificate
  return {
    step,
    requests,
    strong,
    substituted,
    audited,
    agreement: overall(audited === 0 ? 1 : agreements.reduce((sum, one) => sum + one, 0) / audited),
    low: overall(audited === 0 ? 0 : Certificate.lowerBound(agreements, TAIL)),
    high: overall(audited === 0 ? 1 : Certificate.upperBound(agreements, TAIL)),
    ...(certificate === undefined
      ? undefined
      : { promised: { target: certificate.target, standard: certificate.standard } })
  }
}

export const sums = (
  { commit, packs, reuse, routes }: Store.Service,
  run: number,
  layers: ReadonlyArray<ModelClient.LayerInfo>
): Effect.Effect<RunSavings> =>
  Effect.gen(function* () {
    yield* commit
    const [looked, packed, routed] = [yield* reuse.sums(run), yield* packs.sums(run), yield* routes.sums(run)]
    const routing = Option.getOrUndefined(Cascade.of(layers))?.routing as Routing.Routing | undefined
    return {
      ...(looked.length === 0
        ? undefined
        : {
            reuse: looked.map((sums) => {
              const [low, high] = Binomial.interval(sums.wrong, sums.audited)
              return { ...sums, low, high }
            })
          }),
      ...(packed.length === 0 ? undefined : { packs: packed.map(({ size, ...sums }) => ({ ...sums, texts: size })) }),
      ...(routed.length === 0 ? undefined : { routes: routed.map((one) => routesOf(one, routing)) })
    }
  }).pipe(Effect.orElseSucceed(() => ({})))

/** Warnings for routings that do not keep their guarantee. */
export const broken = ({ routes = [] }: RunSavings): ReadonlyArray<string> =>
  routes.flatMap(({ high, promised, step }) =>
    promised?.standard !== "agreement" || high >= promised.target
      ? []
      : [
          `step ${step}: its routing guarantees that ${Format.share(promised.target)} of its answers agree with the strong model's, but the audits show at most ${Format.share(high)}: check it with pipe tune --check, or find another with pipe tune`
        ]
  )
