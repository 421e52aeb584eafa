/** Whole answers as the events of each API's stream. */

export type Json = { [name: string]: unknown }

const isRecord = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value)

/** The fields of a text that is a JSON object. */
const recordOf = (text: string): Json | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return isRecord(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** A completion in the chunks of OpenAI's stream (platform.openai.com/docs/api-reference/chat-streaming). */
export const chunksOf = (text: string): ReadonlyArray<string> => {
  const body = recordOf(text)
  if (body === undefined) return [text]
  const { choices, usage, ...rest } = body
  const list = Array.isArray(choices) ? (choices as ReadonlyArray<unknown>) : undefined
  const fieldOf = (choice: unknown, name: string) => (isRecord(choice) ? choice[name] : undefined)
  const chunks =
    list === undefined
      ? [{ ...rest, choices }]
      : [
          {
            ...rest,
            choices: list.map((choice) => ({ index: 0, delta: fieldOf(choice, "message"), finish_reason: null }))
          },
          {
            ...rest,
            choices: list.map((choice) => ({
              index: 0,
              delta: {},
              finish_reason: fieldOf(choice, "finish_reason"),
              ...(fieldOf(choice, "error") === undefined ? undefined : { error: fieldOf(choice, "error") })
            }))
          }
        ]
  return [...chunks, ...("usage" in body ? [{ ...rest, choices: [], usage }] : []), "[DONE]"].map((event) =>
    typeof event === "string" ? event : JSON.stringify(event)
  )
}

/** A message in the events of Anthropic's stream (docs.anthropic.com/en/docs/build-with-claude/streaming). */
export const messageEventsOf = (text: string): ReadonlyArray<string> => {
  const body = recordOf(text)
  if (body === undefined) return [text]
  if (body["error"] !== undefined) return [JSON.stringify({ type: "error", ...body })]
  const { content, stop_reason, ...message } = body
  const blocks = Array.isArray(content) ? (content as ReadonlyArray<unknown>) : []
  return [
    {
      type: "message_start",
      message: { ...message, content: Array.isArray(content) ? [] : content, stop_reason: null }
    },
    ...blocks.flatMap((block, index) => [
      {
        type: "content_block_start",
        index,
        content_block: isRecord(block) && typeof block["text"] === "string" ? { ...block, text: "" } : block
      },
      ...(isRecord(block) && typeof block["text"] === "string"
        ? [{ type: "content_block_delta", index, delta: { type: "text_delta", text: block["text"] } }]
        : []),
      { type: "content_block_stop", index }
    ]),
    { type: "message_delta", delta: { stop_reason }, usage: body["usage"] },
    { type: "message_stop" }
  ].map((event) => JSON.stringify(event))
}

/** An answer in the events of the responses API (platform.openai.com/docs/api-reference/responses-streaming). */
export const responseEventsOf = (text: string): ReadonlyArray<string> => {
  const body = recordOf(text)
  if (body === undefined) return [text]
  if (body["status"] === "failed") return [JSON.stringify({ type: "response.failed", response: body })]
  if (body["error"] !== undefined) return [JSON.stringify({ type: "error", ...body })]
  const items = Array.isArray(body["output"]) ? (body["output"] as ReadonlyArray<unknown>) : []
  return [
    { type: "response.created", response: { ...body, status: "in_progress", output: [], usage: null } },
    ...items.map((item, index) => ({ type: "response.output_item.done", output_index: index, item })),
    ...(Object.keys(body).length === 0 ? [] : [{ type: "response.completed", response: body }])
  ].map((event) => JSON.stringify(event))
}
