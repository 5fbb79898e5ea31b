import type { AccessRequest } from '@proxycache/core';

/**
 * Why a browser sends this for a page of another site; `undefined`: it does not, or it is no browser. Who is let in by what
 * a browser sends along (an address, a cookie) must not act for every page he opens.
 *
 * @param own the API's origin as its users see it. Default: what `Host` says
 */
export function whyCrossSite({ headers }: AccessRequest, own: URL | undefined): string | undefined {
  // Fetch Metadata: a browser says it of each request, and no page can change it. `none`: the user typed it.
  const site = headers.get('sec-fetch-site');
  if (site !== null && site !== 'same-origin' && site !== 'none') return `Sec-Fetch-Site is ${quoted(site)}`;
  const origin = headers.get('origin');
  if (origin === null) return undefined;
  // `null` is any page without an origin of its own, a sandboxed frame of an attacker's too.
  const isOwn = own ? origin === own.origin : isOriginOf(headers.get('host'), origin);
  return isOwn ? undefined : `Origin is ${quoted(origin)}`;
}

function isOriginOf(host: string | null, origin: string): boolean {
  if (host === null || !URL.canParse(origin)) return false;
  const { protocol, host: named } = new URL(origin);
  if (protocol !== 'http:' && protocol !== 'https:') return false;
  // Both lose the port that is the scheme's own.
  const asked = `${protocol}//${host}`;
  return URL.canParse(asked) && new URL(asked).host === named;
}

const quoted = (value: string) => JSON.stringify(value.slice(0, 200));
