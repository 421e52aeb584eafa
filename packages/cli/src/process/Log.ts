/** Logs warnings and errors as lines of the command, without keys and control characters. */
import * as SafeText from "@pipe/core/internal/SafeText"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Output from "./Output.ts"

export const layer = (show: (text: string) => void) =>
  Logger.layer([
    Logger.make<unknown, void>(({ logLevel, message }) => {
      if (logLevel !== "Warn" && logLevel !== "Error" && logLevel !== "Fatal") return
      show(SafeText.line((Array.isArray(message) ? message : [message]).map(String).join(" ")))
    })
  ])

/** On standard error. */
export const plain = Layer.unwrap(Effect.map(Output.Output, ({ err }) => layer((text) => err(`warning: ${text}\n`))))
