/** Hides private words from the provider, and puts them back into the answer. Put `mask()` below the cache. */
import { ModelClient, ModelRequest, ModelResponse } from "@pipe/core"

const EMAIL = /\S+@\S+/g

/** `around` changes a request, and changes its answer back: each row gets its own words. */
export const mask = (pattern = EMAIL) =>
  ModelClient.around(
    (request) => {
      const hidden: Array<string> = []
      const hide = (text: string) =>
        text.replace(pattern, (word) => {
          if (!hidden.includes(word)) hidden.push(word)
          return `[private ${hidden.indexOf(word)}]`
        })
      const show = (text: string) =>
        text.replace(/\[private (\d+)\]/g, (mark, at: string) => hidden[Number(at)] ?? mark)
      return {
        request: ModelRequest.mapText(request, hide),
        restore: (response) => ModelResponse.mapText(response, show)
      }
    },
    { name: "Mask" }
  )
