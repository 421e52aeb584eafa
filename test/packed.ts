/** The packages are built and unpacked once, before the first process is started. */
import * as Packages from "../scripts/packages.ts"

export default async (): Promise<void> => {
  await Packages.make()
}
