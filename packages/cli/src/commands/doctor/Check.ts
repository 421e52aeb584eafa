/** One line of `pipe doctor`. */
export interface Check {
  readonly name: string
  readonly status: "ok" | "warning" | "wrong"
  readonly message: string
}

export const ok = (name: string, message: string): Check => ({ name, status: "ok", message })
export const warning = (name: string, message: string): Check => ({ name, status: "warning", message })
export const wrong = (name: string, message: string): Check => ({ name, status: "wrong", message })
