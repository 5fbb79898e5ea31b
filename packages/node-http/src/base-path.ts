import { ProxyCacheError } from '@proxycache/core';
import { originForm } from './origin-form.ts';

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

/**
 * The path and query below the mount point, starting with a slash; `undefined` when it is not below it.
 *
 * @param url as it came: a path, or in absolute form, which starts with the host's name and not with the mount point
 */
export function stripBasePath(url: string, basePath: string): string | undefined {
  const path = originForm(url);
  if (basePath === '') return path;
  if (!path.startsWith(basePath)) return undefined;
  const rest = path.slice(basePath.length);
  if (rest.startsWith('/')) return rest;
  // `/registry` and `/registry?x` are the mount point itself, `/registry2` is not.
  return rest === '' || rest.startsWith('?') ? `/${rest}` : undefined;
}
