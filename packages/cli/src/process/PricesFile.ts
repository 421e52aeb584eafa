/** The project's own table of prices: the nearest file, from here to the root of the project; or where it would be. */
import * as PriceTable from "@pipe/core/PriceTable"
import { relative } from "node:path"
import * as Environment from "./Environment.ts"

export const path = (): string => {
  const found = Environment.nearestFile(PriceTable.FILE, process.cwd())
  return found === undefined ? PriceTable.FILE : relative(process.cwd(), found)
}
