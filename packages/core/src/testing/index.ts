/** What tests of flows need. `@pipe/core` imports none of it. */
export * as TestFlow from "./TestFlow.ts"
export * as TestModel from "./TestModel.ts"
