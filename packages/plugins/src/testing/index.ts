/** What tests of providers need. The plugins import none of it. */
export * as Recording from "./Recording.ts"
