/**
 * Rules for `Router` by the language of a prompt, detected on this machine by `tinyld` (to be installed separately),
 * which knows 62 languages.
 *
 * **Details** The language is that of the varying text (a step's `varies`), or of all user messages. No rule holds for
 * a short text, or for one in an unknown language. Detection runs once per request and takes about half a millisecond.
 *
 * **Example** (English goes to the cheap model)
 *
 * ```ts
 * import { Router } from "@pipe/core"
 * import { Language } from "@pipe/plugins"
 *
 * export const router = Router.layer({ cheap: "gpt-4o-mini", strong: "gpt-4o", when: Language.is("en") })
 * ```
 *
 * @since 0.1.0
 */
import * as ModelRequest from "@pipe/core/ModelRequest"
import type * as Router from "@pipe/core/Router"
import * as Varying from "@pipe/core/Varying"
import * as Fiber from "effect/Fiber"
import { createRequire } from "node:module"

let detect: ((text: string) => string) | undefined

/** The language of a text as an ISO 639-1 code; empty when it is unknown. */
export const of = (text: string): string => {
  if (detect === undefined) {
    try {
      detect = (createRequire(import.meta.url)("tinyld") as { readonly detect: (text: string) => string }).detect
    } catch (error) {
      throw new Error(
        `detecting languages needs tinyld, which is not installed: npm install tinyld (${error instanceof Error ? error.message.split("\n")[0] : error})`
      )
    }
  }
  return detect(text)
}

/** Holds for prompts in one of these languages, by ISO 639-1 code: `Language.is("en", "de")`. */
export const is = (...codes: readonly [string, ...Array<string>]): Router.RoutingRule =>
  Object.assign(
    (request: ModelRequest.Completion) =>
      codes.includes(of(Fiber.getCurrent()?.getRef(Varying.Varying)?.text ?? ModelRequest.text(request, "user"))),
    { by: ["language", ...codes] }
  )
