/** The requests and answers of a row, as text. */
import type * as ExchangeRepo from "@pipe/core/internal/ExchangeRepo"
import * as Money from "@pipe/core/Money"
import * as Format from "@pipe/core/internal/Format"
import * as SafeText from "@pipe/core/internal/SafeText"

type Fields = { readonly [name: string]: unknown }

const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const fields = (value: unknown): Fields => (isFields(value) ? value : {})

const list = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value : [])

/** Indents a text. */
export const block = (text: string, indent: string): string =>
  SafeText.withoutControls(text.replace(/\r\n?/g, "\n"))
    .split("\n")
    .map((line) => `${indent}${line}`.trimEnd())
    .join("\n")

/** A part of a message or of an answer. */
const partText = (part: unknown): string => {
  const { data, fileName, id, mediaType, name, params, result, text, type } = fields(part)
  switch (type) {
    case "text":
    case "reasoning":
      return type === "text" ? String(text) : `(thinking) ${String(text)}`
    case "tool-call":
      return `call ${String(name)}(${JSON.stringify(params)})${id === undefined ? "" : ` #${String(id)}`}`
    case "tool-result":
      return `result of ${String(name)}: ${JSON.stringify(result)}`
    case "file":
      return `[file ${String(fileName ?? mediaType)}: ${typeof data === "string" ? data : JSON.stringify(data)}]`
    default:
      return JSON.stringify(part)
  }
}

const contentText = (content: unknown): string =>
  typeof content === "string" ? content : list(content).map(partText).join("\n")

/** The answer to a question, with its probability. */
const decidedText = ([name, answer]: readonly [name: string, answer: unknown]): string => {
  const { probabilities, probability, type, value } = fields(answer)
  if (type === "refusal") return `${name}: refused`
  const own = probability ?? fields(probabilities)[String(value)]
  return `${name}: ${String(value)}${typeof own === "number" ? ` (${Format.share(own)})` : ""}`
}

/** The answer as its text, or as its parts. */
export const answerText = (answer: unknown): string => {
  const { answers, dimensions, parts, refusal, vectors } = fields(answer)
  if (answers !== undefined) return Object.entries(fields(answers)).map(decidedText).join("\n")
  if (vectors !== undefined)
    return `${Format.of(Number(vectors), "vector")} of ${Format.of(Number(dimensions), "number")}`
  return refusal === undefined ? list(parts).map(partText).join("\n") : `refused: ${String(refusal)}`
}

/** A question of a decision, with the answers to choose from. */
const questionText = (question: unknown): string => {
  const { choices, instructions, levels, name } = fields(question)
  const names = [...list(choices), ...list(levels)].map((one) => String(fields(one)["value"] ?? fields(one)["label"]))
  return `${String(name)}: ${String(instructions)}${names.length === 0 ? "" : ` [${names.join(", ")}]`}`
}

/** The prompt as messages. */
export const promptText = (request: unknown): string => {
  const { inputs, messages, questions, state } = fields(request)
  if (questions !== undefined)
    return [
      `input: ${typeof state === "string" ? state : JSON.stringify(state)}`,
      ...list(questions).map(questionText)
    ].join("\n")
  return inputs === undefined
    ? list(messages)
        .map((message) => `${String(fields(message)["role"])}: ${contentText(fields(message)["content"])}`)
        .join("\n")
    : list(inputs).map(String).join("\n")
}

/** What shapes the answer besides the prompt. */
const shape = (request: Fields): ReadonlyArray<string> => {
  const { responseFormat, settings, tools } = request
  const { name, schema, type } = fields(responseFormat)
  return [
    ...list(tools).map((tool) => `tool ${String(fields(tool)["name"])}: ${JSON.stringify(fields(tool)["parameters"])}`),
    ...(type === "json" ? [`schema ${String(name)}: ${JSON.stringify(schema)}`] : []),
    ...(Object.keys(fields(settings)).length === 0 ? [] : [`settings: ${JSON.stringify(settings)}`])
  ]
}

/** A request: its prompt, and what shapes the answer besides. */
export const requestText = (request: unknown): string => [promptText(request), ...shape(fields(request))].join("\n")

/** Display names of token classes. */
const CLASSES = [
  ["uncachedInput", "input"],
  ["cacheRead", "cached"],
  ["cacheWrite", "written to the cache"],
  ["cacheWrite1h", "written to the cache for an hour"],
  ["inputAudio", "audio input"],
  ["inputImage", "image input"],
  ["output", "output"],
  ["reasoning", "reasoning"],
  ["outputAudio", "audio output"],
  ["outputImage", "image output"]
] as const

const tokensText = (tokens: unknown): string =>
  CLASSES.flatMap(([key, name]) => {
    const count = Number(fields(tokens)[key] ?? 0)
    return count > 0 ? [`${Format.count(count)} ${name}`] : []
  }).join(" + ")

const ORIGINS: { readonly [origin: string]: string } = {
  cache: "found in the exact cache: nothing was sent or paid",
  shared: "shared with an equal request in flight",
  semantic: "reused by meaning: nothing was sent or paid",
  batch: "answered in a batch",
  gathered: "sent in a request for several rows: see the first of them"
}

const headline = (exchange: ExchangeRepo.StoredExchange, number: number): string => {
  const { at, cost, milliseconds, model, origin, provider, tokens } = exchange
  const how =
    origin === "attempt"
      ? [
          `${milliseconds} ms`,
          ...(tokens === undefined ? [] : [`${tokensText(tokens)} tokens`]),
          cost === undefined ? "cost unknown" : Money.format(cost)
        ].join(", ")
      : (ORIGINS[origin] ?? origin)
  return `  ${number}. ${model === "" ? provider : `${model} (${provider})`}, ${new Date(at).toISOString().slice(0, 19).replace("T", " ")} UTC: ${how}`
}

/** The exchanges of a row, step by step. A request equal to the previous one is not repeated. */
export const render = (exchanges: ReadonlyArray<ExchangeRepo.StoredExchange>): string => {
  const lines: Array<string> = []
  let before = { step: "", row: -1, sample: -1, prompt: "" }
  let number = 0
  for (const exchange of exchanges) {
    const { answer, error, position, row, sample, step } = exchange
    if (step !== before.step || row !== before.row || sample !== before.sample) {
      if (lines.length > 0) lines.push("")
      lines.push(`${position}: step ${step}${sample > 0 ? `, sample ${sample + 1}` : ""}`)
      number = 0
      before = { step, row, sample, prompt: "" }
    }
    lines.push(headline(exchange, ++number))
    const request = fields(exchange.request)
    const prompt = requestText(request)
    lines.push(prompt === before.prompt ? "     (the same request)" : block(prompt, "     "))
    before.prompt = prompt
    if (answer !== undefined) lines.push("     answer:", block(answerText(answer), "       "))
    const { finishReason } = fields(answer)
    if (finishReason !== undefined && finishReason !== "stop") lines.push(`     ended by: ${String(finishReason)}`)
    if (error !== undefined) lines.push(`     failed: ${error}`)
  }
  return lines.join("\n")
}

/** An exchange as one line of JSON. */
export const toJson = ({ content: _, cost, ...exchange }: ExchangeRepo.StoredExchange): string =>
  JSON.stringify({ ...exchange, ...(cost === undefined ? undefined : { cost: Money.toUsd(cost) }) })
