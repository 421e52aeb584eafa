/** Adds a request for an answer in German to every prompt. Put `german()` into a Stack.make. */
import { ModelClient, ModelRequest } from "@pipe/core"

/** `mapRequest` changes requests. For layers that do more, see "Write a plugin". */
export const german = (words = "Answer in German.") =>
  ModelClient.mapRequest(
    (request) => ModelRequest.mapText(request, (text, role) => (role === "user" ? `${text}\n\n${words}` : text)),
    { name: "German" }
  )
