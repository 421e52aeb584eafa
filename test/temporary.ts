/** One folder for all that tests and the processes they start make in the system's temporary folder; it goes with them. */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

export default (): (() => void) | undefined => {
  // Projects of one run share it.
  if (process.env["PIPE_TEST_FOLDER"] !== undefined) return undefined
  const folder = fs.mkdtempSync(path.join(fs.realpathSync(os.tmpdir()), "pipe-tests-"))
  // PostgreSQL runs as another user and has its files below.
  fs.chmodSync(folder, 0o755)
  const before = process.env["TMPDIR"]
  process.env["PIPE_TEST_FOLDER"] = folder
  process.env["TMPDIR"] = folder
  // The commands that tests start compile the same modules.
  process.env["NODE_COMPILE_CACHE"] = path.join(folder, "compiled")
  return () => {
    delete process.env["PIPE_TEST_FOLDER"]
    delete process.env["NODE_COMPILE_CACHE"]
    if (before === undefined) delete process.env["TMPDIR"]
    else process.env["TMPDIR"] = before
    fs.rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}
