/**
 * Describes file system errors: what is wrong, and what to do about it.
 *
 * @internal
 */
import type * as PlatformError from "effect/PlatformError"

const BY_CODE: { readonly [code: string]: string } = {
  EACCES: "permission denied",
  EBADF: "this descriptor is not open for that: redirect it, for example 3> file",
  EBUSY: "it is in use",
  EDQUOT: "its disk quota is used up: free some space",
  EINVAL: "the operation is not possible there",
  EIO: "its disk or device reports an error",
  ELOOP: "its links form a cycle",
  EMFILE: "too many files are open",
  ENAMETOOLONG: "its name is too long",
  ENFILE: "too many files are open",
  ENODEV: "there is no such device",
  ENOENT: "there is no such file or folder",
  ENOSPC: "no space is left on its disk: free some space",
  ENOTDIR: "a part of its path is a file, not a folder",
  ENXIO: "there is no such device",
  EPERM: "permission denied",
  EPIPE: "its reader has closed",
  EROFS: "its disk is mounted read-only",
  ETXTBSY: "it is a running program"
}

/** The code of an error; `undefined` when it has none. */
export const codeOf = ({ reason: { cause } }: PlatformError.PlatformError): string | undefined =>
  cause instanceof Error && "code" in cause ? String(cause.code) : undefined

/** Why a file cannot be read or written. */
export const describe = (error: PlatformError.PlatformError): string => {
  const { message, reason } = error
  const { cause, description } = reason
  return BY_CODE[codeOf(error) ?? ""] ?? description ?? (cause instanceof Error ? cause.message : message)
}
