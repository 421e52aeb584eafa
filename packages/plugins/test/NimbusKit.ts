/** The plugin for "nimbus" (see `Nimbus`) as a third party writes it with the provider kit. */
import { type BatchProvider, ModelRequest } from "@pipe/core"
import { BatchApi, type Connection, Operation, Provider } from "@pipe/plugins/provider"
import { Effect, Schema } from "effect"

const Answer = Schema.Struct({
  text: Schema.String,
  model: Schema.String,
  tokens: Schema.Struct({ in: Schema.Int, out: Schema.Int })
})

const File = Schema.Struct({ id: Schema.String })

const Job = Schema.Struct({
  id: Schema.String,
  status: Schema.Literals(["running", "cancelling", "done", "cancelled"]),
  answered: Schema.Int,
  failed: Schema.Int
})

const Jobs = Schema.Struct({ jobs: Schema.Array(Job) })

const Line = Schema.Struct({
  id: Schema.String,
  answer: Schema.optionalKey(Schema.Json),
  failure: Schema.optionalKey(Schema.Struct({ status: Schema.Int, error: Schema.String }))
})

const statusOf = ({ answered, failed, id, status }: typeof Job.Type): BatchProvider.BatchStatus => {
  const hasEnded = status === "done" || status === "cancelled"
  return {
    id,
    state: hasEnded ? "ended" : status,
    answered,
    failed,
    ...(hasEnded ? { counted: answered, isWhole: status === "done" } : undefined),
    isCancelled: status === "cancelled",
    files: hasEnded ? [id] : []
  }
}

export interface Options extends Connection.Options {
  /** The edition of the vendor's models: the same name answers differently in another one. */
  readonly edition?: string
}

export const layer = (options: Options) =>
  Provider.layer(
    {
      name: "nimbus",
      baseUrl: "https://api.nimbus.example",
      models: "/v1/models",
      billsFailures: false,
      ...(options.edition === undefined ? undefined : { headers: { "nimbus-edition": options.edition } }),
      completion: Operation.completion({
        path: "/v1/answer",
        accepts: ["maxTokens"],
        body: (request, model) => ({
          model,
          prompt: ModelRequest.text(request),
          max_tokens: request.settings.maxTokens
        }),
        answer: Answer,
        read: ({ model, text, tokens }) => ({ model, text, usage: { input: tokens.in, output: tokens.out } })
      }),
      batch: ({ http }) => ({
        limits: { requests: 10_000, bytes: 50_000_000 },
        line: (id, question) => ({ id, question }),
        upload: ({ file }) => Effect.map(http.upload(File, "PUT", "/v1/files", { file }), ({ id }) => id),
        create: ({ name, uploaded }) =>
          Effect.map(http.json(Job, "POST", "/v1/jobs", { name, file: uploaded }), statusOf),
        find: ({ name, others }) =>
          Effect.map(http.json(Jobs, "GET", `/v1/jobs?name=${encodeURIComponent(name)}`), ({ jobs }) => {
            const job = jobs.find(({ id }) => others?.has(id) !== true)
            return job && statusOf(job)
          }),
        status: (id) => Effect.map(http.json(Job, "GET", `/v1/jobs/${id}`), statusOf),
        cancel: (id) => http.call("POST", `/v1/jobs/${id}/cancel`),
        results: ({ id }) =>
          BatchApi.lines(http.lines(`/v1/jobs/${id}/results`), Line, ({ answer, failure, id }) =>
            answer !== undefined
              ? { id, answer }
              : failure !== undefined
                ? { id, failure: { status: failure.status, body: failure } }
                : { id, unanswered: "nimbus did not answer it" }
          )
      })
    },
    options
  )
