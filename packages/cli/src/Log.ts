/** Warnings and errors of the work as lines of the command's own; keys are masked. */
import * as Secret from "@pipe/core/Secret"
import * as Logger from "effect/Logger"

export const layer = (show: (text: string) => void) =>
  Logger.layer([
    Logger.make<unknown, void>(({ logLevel, message }) => {
      if (logLevel !== "Warn" && logLevel !== "Error" && logLevel !== "Fatal") return
      show(Secret.mask((Array.isArray(message) ? message : [message]).map(String).join(" ")))
    })
  ])

/** On standard error. */
export const plain = layer((text) => process.stderr.write(`warning: ${text}\n`))
