/** The contract of providers, over a server that answers for the API. */
import { test } from "node:test"
import { ModelClientContract } from "@pipe/core/testing"
import { NodeHost } from "@pipe/plugins"
import { Recording } from "@pipe/plugins/testing"
import { layer } from "./plugin.ts"

const cases = ModelClientContract.cases({
  provider: (endpoint) => layer({ model: "nimbus-1", ...endpoint }),
  // Answers come from plugin.recorded.json. To record them again, with your key:
  // PIPE_RECORD=1 NIMBUS_API_KEY=… npm test
  server: Recording.serve({
    file: new URL("plugin.recorded.json", import.meta.url),
    upstream: "https://api.nimbus.example",
    apiKey: "NIMBUS_API_KEY"
  }),
  host: NodeHost.layerMemory
})
for (const { name, run } of cases) test(name, run)
