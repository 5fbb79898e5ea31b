import { isProxyCacheError, ProxyCacheError } from '@proxycache/core';

/** What a package says of its options, by the path that they have here: what stands for `prefix` is `path.` */
export function renameOption<T>({ path, prefix }: { path: string; prefix: RegExp }, make: () => T): T {
  try {
    return make();
  } catch (cause) {
    if (!isProxyCacheError(cause)) throw cause;
    throw new ProxyCacheError(cause.code, cause.message.replace(prefix, `${path}.`), { cause });
  }
}
