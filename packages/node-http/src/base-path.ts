import { ProxyCacheError } from '@proxycache/core';

/**
 * Checks where a cache is mounted: `''`, or a path such as `/registry`. A lone `/` means `''`.
 *
 * @throws ProxyCacheError `invalid-options`
 */
export function parseBasePath(basePath: string): string {
  if (basePath === '' || basePath === '/') return '';
  if (typeof basePath === 'string' && /^(?:\/[^/?#\s]+)+$/.test(basePath)) return basePath;
  throw new ProxyCacheError(
    'invalid-options',
    `basePath: expected "" or a path such as "/registry", without a slash at its end, received ${JSON.stringify(basePath)}`,
  );
}

/** The URL below the mount point, starting with a slash; `undefined` when it is not below it. */
export function stripBasePath(url: string, basePath: string): string | undefined {
  if (basePath === '') return url;
  if (!url.startsWith(basePath)) return undefined;
  const rest = url.slice(basePath.length);
  if (rest.startsWith('/')) return rest;
  // `/registry` and `/registry?x` are the mount point itself, `/registry2` is not.
  return rest === '' || rest.startsWith('?') ? `/${rest}` : undefined;
}
