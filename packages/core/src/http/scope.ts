import { isRepository } from '../oci/name.ts';
import type { Route } from './route.ts';

/**
 * What a token has to be good for (Docker token spec, scopes), in the client's own words for the repository; `undefined`:
 * for nothing but saying who asks. Only pulls are ever granted, so a push is told of the same.
 */
export function scopeOf(route: Route, url: string): string | undefined {
  switch (route.kind) {
    case 'ping':
      return undefined;
    case 'catalog':
      return 'registry:catalog:*';
    case 'upload': {
      const name = /^\/v2\/(.+)\/(?:blobs|manifests)\//.exec(url)?.[1] ?? '';
      return isRepository(name) ? `repository:${name}:pull` : undefined;
    }
    default:
      return `repository:${route.name}:pull`;
  }
}
