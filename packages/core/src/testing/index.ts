/** What tests of flows need. `@pipe/core` imports none of it. */
export * as Case from "./Case.ts"
export * as Faults from "./Faults.ts"
export * as LayerLaws from "./LayerLaws.ts"
export * as TestFlow from "./TestFlow.ts"
export * as TestModel from "./TestModel.ts"
