import { type Digest, parseDigest } from '../oci/digest.ts';
import { isRepository, isTag, parseRepository, parseTagOrDigest, type TagOrDigest } from '../oci/name.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { PageQuery } from '../upstream/upstream.ts';
import type { HttpRequest } from './message.ts';
import { decodePercent, queryValue } from './query.ts';

/** What a request wants, by path and query. `name` is the repository's name as the client wrote it. */
export type Endpoint =
  | { kind: 'ping' }
  | { kind: 'catalog'; page: PageQuery }
  | { kind: 'manifest'; name: string; reference: TagOrDigest }
  | { kind: 'blob'; name: string; digest: Digest }
  | { kind: 'tags'; name: string; page: PageQuery }
  | { kind: 'referrers'; name: string; digest: Digest; artifactType: string | undefined }
  /** A push: any writing method under `/v2/`, or a path of uploads. Always refused: {@link pushRefused}. */
  | { kind: 'upload' };

/** Where a request says its content comes from. The resolver decides what it counts for. */
export interface RouteSource {
  /** The source host of `?ns=`; `''` where it was given but cannot be relied on (empty, repeated, not ASCII). */
  ns: string | undefined;
  /** The `Host` header. Good for routing by an allow-list, for nothing else. */
  host: string | undefined;
}

/** A request, parsed: the one value that travels from here on. */
export type Route = Endpoint & RouteSource;

// Upstreams' own cursors run to a few thousand characters; Node takes 16 KiB of request line and headers.
const longestCursor = 8192;
const mostDigits = 9;

/** Why no push is taken. The words are our own: Docker's client retries a `DENIED` with the standard text for 50 s. */
export function pushRefused(): ProxyCacheError {
  return new ProxyCacheError('read-only', 'this registry is a proxy cache; push to the upstream registry');
}

/** Whether a request wants the bytes of what it names, or to know what it is. */
export function wantOf({ method }: { method: string }): 'bytes' | 'descriptor' {
  return method === 'HEAD' ? 'descriptor' : 'bytes';
}

/** Whether a path is `/v2` or below it: the rest is the host's. */
export function isBelowV2(url: string): boolean {
  return url.startsWith('/v2') && (url.length === 3 || url[3] === '/' || url[3] === '?');
}

/**
 * Parses a request of the OCI distribution API.
 *
 * @returns `undefined` when the path is not below `/v2`: the host goes on
 * @throws ProxyCacheError `name-invalid`, `tag-invalid`, `digest-invalid`, `page-invalid`, or `unsupported` for a
 *   method or an endpoint that is not there
 */
export function parseRoute(request: HttpRequest): Route | undefined {
  const { url, method } = request;
  if (!isBelowV2(url)) return undefined;
  const mark = url.indexOf('?');
  const end = mark < 0 ? url.length : mark;
  const query = mark < 0 ? '' : url.slice(mark + 1);
  const source: RouteSource = { ns: sourceHost(query), host: request.headers.get('host') ?? undefined };
  if (method === 'GET' || method === 'HEAD') return parsePath(url.slice(4, end), query, source);
  if (method === 'POST' || method === 'PUT' || method === 'PATCH' || method === 'DELETE') {
    checkPushed(url.slice(4, end));
    return { kind: 'upload', ns: source.ns, host: source.host };
  }
  throw new ProxyCacheError('unsupported', `${JSON.stringify(method)} is not a method of this API; use GET or HEAD`);
}

// OCI distribution-spec, error codes: what can name no manifest anywhere is refused as such, to a push too.
function checkPushed(path: string): void {
  const last = path.lastIndexOf('/');
  if (last < 0 || !path.endsWith('/manifests', last)) return;
  parseName(path.slice(0, last - '/manifests'.length));
  parseTagOrDigest(decodeSegment(path.slice(last + 1)));
}

// Each route is written out: spreading one part into another would cost more than all the rest of parsing.
function parsePath(path: string, query: string, { ns, host }: RouteSource): Route {
  if (path === '') return { kind: 'ping', ns, host };
  if (path === '_catalog') return { kind: 'catalog', page: parsePage(query, isRepository), ns, host };

  // A name may hold any of the words below as a component: only the last two segments say what is asked for.
  const last = path.lastIndexOf('/');
  const before = path.lastIndexOf('/', last - 1);
  const object = path.slice(last + 1);
  const name = before < 0 ? '' : path.slice(0, before);
  switch (last < 0 ? '' : path.slice(before + 1, last)) {
    case 'manifests':
      return { kind: 'manifest', name: parseName(name), reference: parseTagOrDigest(decodeSegment(object)), ns, host };
    case 'blobs':
      if (object === 'uploads') return { kind: 'upload', ns, host };
      return { kind: 'blob', name: parseName(name), digest: parseDigest(decodeSegment(object)), ns, host };
    case 'referrers':
      return {
        kind: 'referrers',
        name: parseName(name),
        digest: parseDigest(decodeSegment(object)),
        artifactType: artifactTypeOf(query),
        ns,
        host,
      };
    case 'tags':
      if (object === 'list') return { kind: 'tags', name: parseName(name), page: parsePage(query, isTag), ns, host };
      break;
    case 'uploads':
      if (name.endsWith('/blobs')) return { kind: 'upload', ns, host };
      break;
  }
  throw new ProxyCacheError('unsupported', 'there is no such endpoint in the OCI distribution API');
}

// RFC 3986 2.2: `%2F` is data, not a separator. Segments are split first and decoded each, so that an encoded slash ends
// up inside a component, where no name may have one.
function parseName(name: string): string {
  if (!name.includes('%')) return parseRepository(name);
  const components = name.split('/').map(decodeSegment);
  const hidden = components.find((component) => component.includes('/'));
  if (hidden !== undefined) {
    throw new ProxyCacheError('name-invalid', `an encoded slash is no separator: ${JSON.stringify(hidden)}`);
  }
  return parseRepository(components.join('/'));
}

function decodeSegment(segment: string): string {
  const decoded = decodePercent(segment);
  if (decoded !== undefined) return decoded;
  throw new ProxyCacheError('name-invalid', `${JSON.stringify(segment.slice(0, 150))} is badly percent-encoded`);
}

function sourceHost(query: string): string | undefined {
  if (query === '') return undefined;
  const ns = queryValue(query, 'ns');
  if (ns.kind === 'none') return undefined;
  // RFC 3986 3.2.2: a host is ASCII. Case folding would make hosts of look-alikes, which no header can echo.
  return ns.kind === 'one' && isVisibleAscii(ns.value) ? ns.value : '';
}

function isVisibleAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x21 || code > 0x7e) return false;
  }
  return true;
}

// OCI distribution-spec, listing referrers: a client filters for itself what the answer does not say was filtered. So a
// filter that cannot be read is not applied, rather than refused.
function artifactTypeOf(query: string): string | undefined {
  const type = queryValue(query, 'artifactType');
  return type.kind === 'one' && type.value !== '' ? type.value : undefined;
}

function parsePage(query: string, isLast: (text: string) => boolean): PageQuery {
  const page: PageQuery = {};
  const n = pageValue(query, 'n');
  if (n !== undefined) page.n = parsePageSize(n);
  const last = pageValue(query, 'last');
  if (last !== undefined) {
    if (!isLast(last))
      throw new ProxyCacheError('page-invalid', `last=${JSON.stringify(last.slice(0, 150))} is not legal`);
    page.last = last;
  }
  const cursor = pageValue(query, 'cursor');
  if (cursor !== undefined) {
    if (cursor.length > longestCursor) throw new ProxyCacheError('page-invalid', 'the cursor is not one we gave');
    page.cursor = cursor;
  }
  return page;
}

/** A parameter's value; an empty one is as good as none. */
function pageValue(query: string, name: string): string | undefined {
  if (query === '') return undefined;
  const found = queryValue(query, name);
  if (found.kind === 'one') return found.value === '' ? undefined : found.value;
  if (found.kind === 'none') return undefined;
  throw new ProxyCacheError(
    'page-invalid',
    `${name} is ${found.kind === 'repeated' ? 'given twice' : 'badly encoded'}`,
  );
}

// n=0 is legal and means an empty list (OCI distribution-spec, listing tags).
function parsePageSize(text: string): number {
  let n = text.length <= mostDigits ? 0 : Number.NaN;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    n = digit >= 0 && digit <= 9 ? n * 10 + digit : Number.NaN;
  }
  if (!Number.isNaN(n)) return n;
  const received = JSON.stringify(text.slice(0, 50));
  throw new ProxyCacheError(
    'page-invalid',
    `expected n to be a number of at most ${mostDigits} digits, received ${received}`,
  );
}
