import { availableParallelism } from "node:os"
import { join } from "node:path"
import { defineConfig } from "vitest/config"
import { isSoak } from "./test/Soak.ts"

// Tests start many processes from the sources: what one has compiled, the others need not.
process.env["NODE_COMPILE_CACHE"] ??= join(import.meta.dirname, "node_modules/.cache/compile")

const files = (suffix: string) =>
  ["packages/*/test", "examples/test", "test"].map((folder) => `${folder}/**/*${suffix}`)

/** Node loads tests and sources itself, as it does for a user: nothing is transformed, and flows share the modules. */
const native = { viteModuleRunner: false }

export default defineConfig({
  test: {
    // One more than there are cores: some tests wait.
    maxWorkers: availableParallelism() + 1,
    // A worker that has nothing more to do is not waited for.
    teardownTimeout: 2_000,
    // `.ci/run` takes the counts from the file.
    reporters: ["default", "json"],
    outputFile: { json: "node_modules/.cache/vitest.json" },
    projects: [
      {
        test: {
          name: "unit",
          include: files(".test.ts"),
          exclude: files(".{models,servers,e2e}.test.ts"),
          globalSetup: ["test/temporary.ts"],
          sequence: { concurrent: true },
          // Tests that are active together share a thread: the limit is for one that hangs.
          maxConcurrency: 5,
          isolate: false,
          testTimeout: isSoak ? 3_600_000 : 120_000,
          experimental: native
        }
      },
      {
        // The embedding model of this machine: seconds of one core.
        test: {
          name: "models",
          include: files(".models.test.ts"),
          globalSetup: ["test/temporary.ts"],
          sequence: { concurrent: true },
          isolate: false,
          testTimeout: isSoak ? 3_600_000 : 60_000,
          experimental: native
        }
      },
      {
        test: {
          name: "servers",
          include: files(".servers.test.ts"),
          globalSetup: ["test/temporary.ts", "test/announce.ts"],
          isolate: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          experimental: native
        }
      },
      {
        test: {
          name: "e2e",
          include: files(".e2e.test.ts"),
          globalSetup: ["test/temporary.ts", "test/packed.ts"],
          isolate: false,
          testTimeout: isSoak ? 3_600_000 : 60_000,
          hookTimeout: 120_000,
          experimental: native
        }
      }
    ]
  }
})
