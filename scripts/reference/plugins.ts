/** The pages of plugins by kind: their programs are the templates of `pipe init --plugin`. */
import * as fs from "node:fs"
import * as path from "node:path"
import { root } from "../samples.ts"

const PROGRAM = /<!-- template: (\w+) -->\n\n```ts\n[^]*?```/g

/** Each page with its programs. */
export const pages = (): ReadonlyArray<readonly [file: string, text: string]> =>
  fs.readdirSync(path.join(root, "docs/extend/plugins")).map((name) => {
    const file = `docs/extend/plugins/${name}`
    const text = fs.readFileSync(path.join(root, file), "utf8").replace(PROGRAM, (_, kind: string) => {
      const plugin = fs.readFileSync(path.join(root, "packages/cli/templates", kind, "plugin.ts"), "utf8")
      return `<!-- template: ${kind} -->\n\n\`\`\`ts\n${plugin}\`\`\``
    })
    return [file, text]
  })
