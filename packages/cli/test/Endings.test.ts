/** What ends a run: a certificate that is not trusted, and a store that goes away. */
import { assert, describe, it } from "@effect/vitest"
import { readdirSync, rmSync } from "node:fs"
import { createServer } from "node:https"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { completion, serve } from "./Endpoint.ts"
import { words } from "./Flows.ts"
import { flow, folder, pipe } from "./Pipe.ts"
import * as SelfSigned from "./fixtures/SelfSigned.ts"

const env = (url: string) => ({
  OPENAI_API_KEY: "sk-ends-0123456789abcdef",
  OPENAI_BASE_URL: url,
  ANTHROPIC_API_KEY: "sk-ends-0123456789abcdef",
  ANTHROPIC_BASE_URL: url
})

describe("a certificate that is not trusted", { concurrent: false }, () => {
  const providers: { readonly [name: string]: string } = {
    "by the pool": `OpenAi.layer({ model: "gpt-4o-mini" })`,
    "by the SDK": `OpenAi.layer({ model: "gpt-4o-mini", transport: "sdk" })`,
    "by a stream": `OpenAi.layer({ model: "gpt-4o-mini", stream: true })`,
    "by the Responses API": `OpenAi.layer({ model: "gpt-4o-mini", api: "responses" })`,
    "of Anthropic": `Anthropic.layer({ model: "claude-haiku-4-5" })`
  }
  for (const [name, provider] of Object.entries(providers)) {
    it(`stops the run at once, ${name}`, async () => {
      let handshakes = 0
      const server = createServer({ key: SelfSigned.key, cert: SelfSigned.cert }, (_, response) => response.end("{}"))
      server.on("connection", () => handshakes++)
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      const cwd = folder({
        "flow.ts": flow({
          source: words(200),
          options: "concurrency: 2,",
          stack: `Stack.make(Retry.layer({ attempts: 3, base: "1 millis" }), ${provider})`
        }).replace("import { OpenAi }", "import { Anthropic, OpenAi }")
      })
      const { code, stderr } = await pipe(["run", "flow.ts", "-q"], {
        cwd,
        env: env(`https://127.0.0.1:${(server.address() as AddressInfo).port}`)
      })
      server.close()
      assert.notStrictEqual(code, 0)
      assert.match(
        stderr,
        /cannot connect to https:\/\/127\.0\.0\.1:\d+ \([A-Z_]+\): its certificate is not trusted: .*NODE_EXTRA_CA_CERTS/
      )
      // Two rows at once, each asked once.
      assert.isAtMost(handshakes, 4)
    })
  }
})

describe("a store that is removed while a run is active", { concurrent: false }, () => {
  it("stops the run in words: what it does from then on could not be kept", async () => {
    let count = 0
    const cwd = folder({ "flow.ts": flow({ source: words(400), options: "concurrency: 4," }) })
    const server = await serve(() => {
      if (++count === 50) rmSync(join(cwd, ".pipe"), { recursive: true, force: true })
      return { status: 200, body: completion("ok"), wait: 2 }
    })
    const { code, stderr } = await pipe(["run", "flow.ts", "-q"], { cwd, env: env(server.url) })
    server.close()
    assert.strictEqual(code, 1, stderr)
    assert.include(stderr, ".pipe/pipe.db cannot be written")
    assert.include(stderr, "it was deleted or replaced while it was open")
    assert.notInclude(stderr, "pipe resume")
    assert.isBelow(count, 100)
    assert.notInclude(readdirSync(cwd).join(), "out.jsonl,")
  })
})
