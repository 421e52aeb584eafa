/** Chooses the model of a row by its own values. Put `byPlan(…)` above the provider, and below the cache. */
import { Router } from "@pipe/core"

/** Customers with a plan get the strong model. `row` has the values of the step's inputs. */
export const byPlan = ({ cheap, strong }: { readonly cheap: string; readonly strong: string }) =>
  Router.choose((_, row) => (row["customer"]?.plan === "pro" ? strong : cheap), {
    baseline: strong,
    by: [cheap, strong]
  })
