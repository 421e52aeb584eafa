/** Bundles the page of `pipe ui`, for the build and for a command that runs from its sources. */
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { rolldown } from "rolldown"
import type { Assets } from "../src/ui/Assets.ts"

const page = join(import.meta.dirname, "../src/ui/page")

/** The licences of the packages in the bundle. */
export const licences = (): string => {
  const require = createRequire(join(page, "main.tsx"))
  return ["preact", "uplot"]
    .map((name) => {
      const folder = dirname(require.resolve(`${name}/package.json`))
      return `${name}\n\n${readFileSync(join(folder, "LICENSE"), "utf8").trim()}\n`
    })
    .join("\n")
}

export const bundle = async (): Promise<Assets> => {
  const build = await rolldown({
    input: join(page, "main.tsx"),
    platform: "browser"
  })
  const { output } = await build.generate({ format: "esm", minify: true })
  await build.close()
  const require = createRequire(join(page, "main.tsx"))
  return {
    script: output[0].code,
    style: [require.resolve("uplot/dist/uPlot.min.css"), join(page, "page.css")]
      .map((file) => readFileSync(file, "utf8"))
      .join("\n")
  }
}
