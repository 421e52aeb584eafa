/** Says which servers are missing, and so which tests are skipped. */
import * as Servers from "./Servers.ts"

export default (): void => {
  const missing = [
    ...(Servers.hasPostgres ? [] : ["PostgreSQL"]),
    ...(Servers.hasRedis ? [] : ["Redis"]),
    ...(Servers.chromium === undefined ? ["Chromium"] : [])
  ]
  if (missing.length > 0) console.log(`servers: tests with ${missing.join(", ")} are skipped: not installed`)
}
