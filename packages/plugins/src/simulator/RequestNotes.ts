/**
 * What the simulator knows of calls beyond what is sent: the step, its row, and the schema of the answer. A noted
 * request carries the number of its note.
 *
 * @internal
 */
import * as CallContext from "@pipe/core/CallContext"
import * as ModelRequest from "@pipe/core/ModelRequest"
import * as RequestKey from "@pipe/core/RequestKey"
import type * as RowValues from "@pipe/core/RowValues"
import * as Simulation from "@pipe/core/internal/Simulation"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Script from "./Script.ts"
import * as Values from "./Values.ts"

/** The body field with the number of the note. */
export const FIELD = "simulation"

/** What determines the answer to a request: the same for the same seed, row, sample and files. */
export interface RequestNote {
  readonly seed: string
  /** Default: one that is generated. */
  readonly text: string | undefined
  /** Arguments for each tool, as JSON. */
  readonly tools: ReadonlyMap<string, string>
}

export interface RequestNotes {
  readonly note: Simulation.Simulation["note"]
  /** Returns the note of a received request, and removes it. */
  readonly take: (number: unknown) => RequestNote | undefined
}

export const make = (seed: string): RequestNotes => {
  const notes = new Map<string, RequestNote>()
  let last = 0
  return {
    take: (number) => {
      if (typeof number !== "string") return undefined
      const note = notes.get(number)
      notes.delete(number)
      return note
    },
    note: (request) =>
      Effect.withFiberSucceed((fiber) => {
        if (request._tag === "Embedding") return request
        const number = String(++last)
        notes.set(
          number,
          request._tag === "Decision" ? noteOfDecision(request, seed, fiber) : noteOf(request, seed, fiber)
        )
        const marked = (wire: string) => ({
          ...(request.providerOptions[wire] as Schema.JsonObject | undefined),
          [FIELD]: number
        })
        return {
          ...request,
          providerOptions: { ...request.providerOptions, openai: marked("openai"), anthropic: marked("anthropic") }
        }
      })
  }
}

/** Only the number, of all options passed to the provider. */
export const only = ({ providerOptions }: ModelRequest.ModelRequest): ModelRequest.Completion["providerOptions"] => {
  const number = (providerOptions["openai"] as Schema.JsonObject | undefined)?.[FIELD]
  return number === undefined ? {} : { openai: { [FIELD]: number } }
}

const noteOfDecision = (
  request: ModelRequest.Decision,
  seed: string,
  fiber: Fiber.Fiber<unknown, unknown>
): RequestNote => {
  const { step, values } = fiber.getRef(CallContext.CallContext)
  // The answer of each question is generated from the input, as a completion's is.
  const model = request.model ?? ""
  const own = fiber.getRef(Simulation.Own)?.({ step, model, prompt: ModelRequest.text(request), values, sample: 0 })
  return {
    seed: [seed, step, model, textOf(values)].join("\n"),
    tools: new Map(),
    text: own === undefined || typeof own === "string" ? own : JSON.stringify(own)
  }
}

const noteOf = (request: ModelRequest.Completion, seed: string, fiber: Fiber.Fiber<unknown, unknown>): RequestNote => {
  const { step } = fiber.getRef(CallContext.CallContext)
  const values = fiber.getRef(CallContext.CallContext).values
  const { responseFormat, sample } = request
  const model = request.model ?? ""
  const key = [seed, step, model, String(sample), RequestKey.canonical(request.messages), textOf(values)].join("\n")
  const own = fiber.getRef(Simulation.Own)?.({ step, model, prompt: ModelRequest.text(request), values, sample })
  const tools = new Map<string, string>()
  for (const { name, parametersSchema } of fiber.getRef(Simulation.Tools)) {
    const form = request.tools.find((tool) => tool.name === name)?.parameters
    if (form !== undefined) {
      tools.set(
        name,
        Values.json(form as Script.ScriptSchema, Schema.toCodecJson(parametersSchema as never), `${key}/${name}`)
      )
    }
  }
  return {
    seed: key,
    tools,
    text:
      own !== undefined
        ? typeof own === "string"
          ? own
          : JSON.stringify(own)
        : responseFormat.type === "text"
          ? Script.text(key)
          : Values.json(
              responseFormat.schema as Script.ScriptSchema,
              fiber.getRef(CallContext.CallContext).accept.schema,
              key
            )
  }
}

/** The values of a row, as far as they can be encoded. The prompt has the rest. */
const textOf = (values: RowValues.Values): string => {
  try {
    return RequestKey.canonical(values)
  } catch {
    return ""
  }
}
