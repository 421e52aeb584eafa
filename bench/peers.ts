/** The peers by name, in the order in which they run. Each is imported in its own process only. */
import type { Peer } from "./peer.ts"

export const peers: Readonly<Record<string, () => Promise<Peer>>> = {
  undici: () => import("./peers/undici.ts"),
  pipe: () => import("./peers/pipe.ts"),
  "openai-sdk": () => import("./peers/openai-sdk.ts"),
  langchain: () => import("./peers/langchain.ts"),
  "ai-sdk": () => import("./peers/ai-sdk.ts")
}
