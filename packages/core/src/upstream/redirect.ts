import { type ExchangeResponse, headerOf } from './exchange.ts';
import { letGo } from './let-go.ts';

/** A redirect that is not followed: why, in words that go behind "the upstream". */
export class RedirectRefused extends Error {
  readonly code: 'address-refused' | 'foreign-answer';

  constructor(code: RedirectRefused['code'], why: string) {
    super(why);
    this.name = 'RedirectRefused';
    this.code = code;
  }
}

const redirects: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const most = 5;
/** RFC 1035 2.3.4, and a dot at its end: what is longer is no name, but it would stand in events. */
export const longestHost = 254;

/** What is sent on each hop. */
export interface Hop {
  url: URL;
  headers: Readonly<Record<string, string>>;
}

/**
 * Follows redirects of a GET or HEAD by hand: at most 5, never from https to http, and with no `Authorization` as soon
 * as the origin has changed, also where a later hop leads back (RFC 9110 15.4, RFC 6454).
 *
 * @throws RedirectRefused, and what `send` throws
 */
export async function followRedirects(
  first: Hop,
  send: (hop: Hop) => Promise<ExchangeResponse>,
): Promise<{ response: ExchangeResponse; url: URL }> {
  let hop = first;
  for (let followed = 0; ; followed++) {
    const response = await send(hop);
    const location = redirects.has(response.status) ? headerOf(response.headers, 'location') : undefined;
    if (location === undefined) return { response, url: hop.url };
    letGo(response);
    if (followed === most) throw new RedirectRefused('foreign-answer', `redirected more than ${most} times`);
    const url = targetOf(location, hop.url);
    hop = { url, headers: url.origin === hop.url.origin ? hop.headers : withoutSecrets(hop.headers) };
  }
}

function targetOf(location: string, base: URL): URL {
  // The constructor's error would hold the whole text.
  if (!URL.canParse(location, base.href)) throw new RedirectRefused('foreign-answer', 'redirected to what is no URL');
  const url = new URL(location, base);
  if (url.hostname.length > longestHost) throw new RedirectRefused('foreign-answer', 'redirected to what is no host');
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw new RedirectRefused('address-refused', 'redirected to a URL that is neither https nor http');
  }
  if (base.protocol === 'https:' && url.protocol === 'http:') {
    throw new RedirectRefused('address-refused', 'redirected from https to plain http, where anybody may listen');
  }
  return url;
}

function withoutSecrets(headers: Readonly<Record<string, string>>): Record<string, string> {
  const { authorization: _dropped, ...rest } = headers;
  return rest;
}
