/**
 * Files and batches as the providers' APIs represent them.
 *
 * @internal
 */
import * as BatchResults from "./BatchResults.ts"
import {
  type SimulatedBatch,
  countsOf,
  fatesOf,
  type SimulatedFile,
  isOver,
  type SimulatedBatchState
} from "./BatchState.ts"

/** The status of a batch, in OpenAI's terms. */
export const statusOf = (state: SimulatedBatchState, batch: SimulatedBatch): string => {
  if (batch.rejection !== undefined) return "failed"
  if (batch.cancelledAt !== undefined) return "cancelled"
  if (!isOver(batch)) return "in_progress"
  return fatesOf(state, batch).includes("expired") ? "expired" : "completed"
}

/** A batch of OpenAI's API. */
export const openAi = (state: SimulatedBatchState, batch: SimulatedBatch) => {
  const { answered, failed, total } = countsOf(state, batch)
  const over = isOver(batch) && batch.rejection === undefined
  const made = over ? BatchResults.of(state, batch) : undefined
  return {
    id: batch.id,
    object: "batch",
    endpoint: batch.endpoint,
    errors: batch.rejection === undefined ? null : { object: "list", data: [{ ...batch.rejection, param: null }] },
    input_file_id: batch.input,
    completion_window: "24h",
    status: statusOf(state, batch),
    output_file_id: made === undefined || made.output === "" ? null : `${batch.id}-output`,
    error_file_id: made === undefined ? null : made.errors === "" ? "" : `${batch.id}-errors`,
    created_at: Math.floor(batch.createdAt / 1_000),
    metadata: batch.metadata,
    request_counts: { total, completed: answered, failed }
  }
}

/** A batch of Anthropic's API. */
export const anthropic = (state: SimulatedBatchState, batch: SimulatedBatch, host: string) => {
  const { answered, cancelled, expired, failed, running } = countsOf(state, batch)
  const over = isOver(batch)
  return {
    id: batch.id,
    type: "message_batch",
    processing_status: over ? "ended" : "in_progress",
    request_counts: { processing: running, succeeded: answered, errored: failed, canceled: cancelled, expired },
    created_at: new Date(batch.createdAt).toISOString(),
    expires_at: new Date(batch.createdAt + 86_400_000).toISOString(),
    ended_at: over ? new Date().toISOString() : null,
    cancel_initiated_at: batch.cancelledAt === undefined ? null : new Date(batch.cancelledAt).toISOString(),
    archived_at: null,
    results_url: over ? `http://${host}/v1/messages/batches/${batch.id}/results` : null
  }
}

/** A file of OpenAI's API. */
export const file = (file: SimulatedFile) => ({
  id: file.id,
  object: "file",
  bytes: file.content.length,
  created_at: Math.floor(file.createdAt / 1_000),
  filename: file.filename,
  purpose: file.purpose,
  status: "processed"
})

/** A page of the batches of an API, newest first. */
export const page = ({ batches }: SimulatedBatchState, wire: SimulatedBatch["wire"], query: URLSearchParams) => {
  const all = [...batches.values()].filter((batch) => batch.wire === wire).reverse()
  const after = query.get("after") ?? query.get("after_id")
  const from = after === null ? 0 : all.findIndex(({ id }) => id === after) + 1
  const limit = Number(query.get("limit") ?? 20)
  return { data: all.slice(from, from + limit), has_more: from + limit < all.length }
}
