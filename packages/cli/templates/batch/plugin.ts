/** A provider with a batch API: answers within a day, for half the price. Run a flow with `--batch`. */
import { type BatchProvider, ModelRequest } from "@pipe/core"
import { BatchApi, type Connection, Operation, Provider } from "@pipe/plugins/provider"
import { Effect, Schema } from "effect"

const Answer = Schema.Struct({ text: Schema.String, tokens: Schema.Struct({ input: Schema.Int, output: Schema.Int }) })
const File = Schema.Struct({ id: Schema.String })
const Job = Schema.Struct({ id: Schema.String, done: Schema.Boolean, answered: Schema.Int, failed: Schema.Int })
const Jobs = Schema.Struct({ jobs: Schema.Array(Job) })

/** A line of the results: an answer, a refusal, or neither when the job ended before it. */
const Line = Schema.Struct({
  id: Schema.String,
  answer: Schema.optionalKey(Schema.Json),
  refusal: Schema.optionalKey(Schema.Struct({ status: Schema.Int, message: Schema.String }))
})

const statusOf = ({ answered, done, failed, id }: typeof Job.Type): BatchProvider.BatchStatus => ({
  id,
  state: done ? "ended" : "running",
  answered,
  failed,
  // Answers that it counts and does not return are looked for, and not paid twice.
  ...(done ? { counted: answered, isWhole: true } : undefined),
  files: done ? [id] : []
})

const batch = ({ http }: Connection.Connection): BatchApi.BatchApi => ({
  limits: { requests: 10_000, bytes: 50_000_000 },
  // A request has the body of its single call.
  line: (id, question) => ({ id, question }),
  upload: ({ file }) => Effect.map(http.upload(File, "PUT", "/v1/files", { file }), ({ id }) => id),
  create: ({ name, uploaded }) => Effect.map(http.json(Job, "POST", "/v1/jobs", { name, file: uploaded }), statusOf),
  // A creation that was not confirmed is found by the name: it is not paid twice.
  find: ({ name }) =>
    Effect.map(
      http.json(Jobs, "GET", `/v1/jobs?name=${encodeURIComponent(name)}`),
      ({ jobs: [job] }) => job && statusOf(job)
    ),
  status: (id) => Effect.map(http.json(Job, "GET", `/v1/jobs/${id}`), statusOf),
  cancel: (id) => http.call("POST", `/v1/jobs/${id}/cancel`),
  results: ({ id }) =>
    BatchApi.lines(http.lines(`/v1/jobs/${id}/results`), Line, ({ answer, id, refusal }) =>
      answer !== undefined
        ? { id, answer }
        : refusal !== undefined
          ? { id, failure: { status: refusal.status, body: refusal } }
          : { id, unanswered: "the job ended before it" }
    )
})

export const layer = (options: Connection.Options = {}) =>
  Provider.layer(
    {
      name: "nimbus",
      baseUrl: "https://api.nimbus.example",
      completion: Operation.completion({
        path: "/v1/answer",
        accepts: ["maxTokens"],
        body: (request, model) => ({ model, prompt: ModelRequest.text(request), limit: request.settings.maxTokens }),
        answer: Answer,
        read: ({ text, tokens }) => ({ text, usage: tokens })
      }),
      batch,
      prices: { "nimbus-1": { input: 2, output: 10, batch: { input: 1, output: 5 } } }
    },
    options
  )
