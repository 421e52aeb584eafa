import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["packages/*/test/**/*.test.ts", "examples/test/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // `.ci/run` takes the counts from the file.
    reporters: ["default", ["json", { outputFile: "node_modules/.cache/vitest.json" }]]
  }
})
