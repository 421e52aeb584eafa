/**
 * The requests of a cascade: in a run they follow its answers; for a plan, as far as they are known in advance.
 *
 * @internal
 */
import type * as LayerAnnotations from "../client/LayerAnnotations.ts"
import * as ModelRequest from "../model/ModelRequest.ts"
import type * as Routing from "./Routing.ts"
import type * as RoutingFile from "./RoutingFile.ts"

type Completion = ModelRequest.Completion

/** The definition of a cascade. */
export interface CascadeDefinition {
  readonly models: ReadonlyArray<string>
  readonly judges: ReadonlyArray<RoutingFile.KnownJudge>
  readonly file: string | undefined
  readonly routing: Routing.Routing | undefined
  /** The share of accepted answers that are audited. */
  readonly rate: number
}

/** Prepares a request for the judges. */
export const prepared = (judges: ReadonlyArray<RoutingFile.KnownJudge>, request: Completion): Completion =>
  judges.reduce((request, { prepare }) => prepare?.(request) ?? request, request)

/** The requests made for a request of a step, as far as they are known before a run. */
export const requestsOf = (
  { file, judges, models, rate, routing }: CascadeDefinition,
  request: Completion,
  step: string
): ReadonlyArray<LayerAnnotations.CascadeRequest> => {
  const strong = ModelRequest.withModel(request, models[models.length - 1]!)
  const { certificate, policy } = file === undefined ? {} : (routing?.steps[step] ?? {})
  if (file !== undefined && (policy === undefined || certificate === undefined))
    return [{ request: strong, share: 1, isMost: false }]
  const isJudged = policy?.by !== "row"
  const rungs = (policy === undefined ? models.slice(0, -1) : policy.rungs.map(({ model }) => model)).flatMap(
    (model, at): ReadonlyArray<LayerAnnotations.CascadeRequest> => {
      const own = prepared(judges, ModelRequest.withModel(request, model))
      const share = certificate === undefined || (isJudged && at === 0) ? 1 : 1 - certificate.strongShare
      const judging = isJudged ? judges.flatMap(({ asks }) => asks?.(own) ?? []) : []
      const isMost = at > 0
      return [
        { request: own, share, isMost },
        ...judging.map((request) => ({ request, share, isMost, purpose: "judge" }))
      ]
    }
  )
  const needed = certificate?.strongShare ?? 1
  return [
    ...rungs,
    { request: strong, share: Math.min(1, needed + (1 - needed) * rate), isMost: certificate === undefined }
  ]
}
