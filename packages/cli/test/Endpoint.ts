/** A chat endpoint that answers as a test says. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

/** Answers every request with a handler's status and body; counts them. */
export const serve = async (
  handler: (
    body: string,
    count: number
  ) => { readonly status: number; readonly body: string; readonly type?: string; readonly wait?: number }
) => {
  const seen: Array<{ readonly authorization: string | undefined; readonly body: string }> = []
  const server = createServer((request, response) => {
    let body = ""
    request.on("data", (chunk) => (body += chunk))
    request.on("end", () => {
      seen.push({ authorization: request.headers.authorization, body })
      const answer = handler(body, seen.length)
      setTimeout(() => {
        response.writeHead(answer.status, { "content-type": answer.type ?? "application/json" })
        response.end(answer.body)
      }, answer.wait ?? 0)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    seen,
    close: () => {
      server.closeAllConnections()
      server.close()
    }
  }
}

/** An answer of a chat API. */
export const completion = (content: string) =>
  JSON.stringify({
    id: "c1",
    object: "chat.completion",
    model: "gpt-4o-mini",
    choices: [{ index: 0, message: { role: "assistant", content, refusal: null }, finish_reason: "stop" }],
    usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 }
  })
