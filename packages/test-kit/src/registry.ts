import { type Answer, type Exchange, jsonAnswer, ociError } from './answer.ts';
import type { Content } from './content.ts';
import { applyRange } from './range.ts';

/** What a path under `/v2/` asks for. */
export type FakeRoute =
  | { kind: 'ping' }
  | { kind: 'manifests' | 'blobs' | 'referrers'; repository: string; reference: string }
  | { kind: 'tags'; repository: string };

/** How the registry answers, apart from who may ask. */
export interface RegistrySettings {
  /** Whether there is a referrers API. Without it the path is 404, and the tag schema is what is left. */
  referrers: boolean;
  /** The most entries of one page of tags or referrers. */
  pageLimit: number;
  /** Whether Range is heeded. */
  ranges: boolean;
  /** Where the path `/v2/` starts, for `Link`. */
  basePath: string;
  /** A URL for a blob elsewhere; `undefined`: it is served here. */
  redirectBlob?: (blob: { method: string; repository: string; bytes: Uint8Array; digest: string }) => string;
}

/** Parses a path; `undefined` for what a registry does not have. */
export function parseFakeRoute(path: string): FakeRoute | undefined {
  if (path === '/v2' || path === '/v2/') return { kind: 'ping' };
  const tags = /^\/v2\/(.+)\/tags\/list$/.exec(path);
  if (tags?.[1]) return { kind: 'tags', repository: tags[1] };
  const match = /^\/v2\/(.+)\/(manifests|blobs|referrers)\/([^/]+)$/.exec(path);
  if (!match?.[1] || !match[2] || !match[3]) return undefined;
  const kind = match[2] as 'manifests' | 'blobs' | 'referrers';
  return { kind, repository: match[1], reference: decodeURIComponent(match[3]) };
}

/** A registry's answer to a request that may pass (OCI distribution-spec, pull and content discovery). */
export function answerRegistry(
  { route, request }: { route: FakeRoute; request: Exchange },
  content: Content,
  settings: RegistrySettings,
): Answer {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return ociError(405, 'UNSUPPORTED', 'the operation is not supported');
  }
  if (route.kind === 'ping') return jsonAnswer(200, {});
  const { repository } = route;
  if (!content.hasRepository(repository)) return ociError(404, 'NAME_UNKNOWN', 'repository name not known to registry');
  if (route.kind === 'tags') return tagsPage(repository, request, { content, settings });
  if (route.kind === 'manifests') return manifestAnswer(content.manifest(repository, route.reference), request);
  if (route.kind === 'referrers') return referrersPage(route, request, { content, settings });
  const bytes = content.blob(repository, route.reference);
  if (!bytes) return ociError(404, 'BLOB_UNKNOWN', 'blob unknown to registry');
  const digest = route.reference;
  if (settings.redirectBlob) {
    const location = settings.redirectBlob({ method: request.method, repository, bytes, digest });
    return { status: 307, headers: { location, 'content-type': 'text/html; charset=utf-8' }, body: '' };
  }
  const headers = {
    'content-type': 'application/octet-stream',
    'docker-content-digest': digest,
    etag: `"${digest}"`,
  };
  const answer: Answer = { status: 200, headers, body: bytes };
  return settings.ranges ? applyRange(answer, request) : answer;
}

function manifestAnswer(manifest: ReturnType<Content['manifest']>, request: Exchange): Answer {
  if (!manifest) return ociError(404, 'MANIFEST_UNKNOWN', 'manifest unknown');
  const etag = `"${manifest.digest}"`;
  const headers = { 'content-type': manifest.mediaType, 'docker-content-digest': manifest.digest, etag };
  if (request.headers['if-none-match'] === etag) return { status: 304, headers, body: '' };
  return { status: 200, headers, body: manifest.bytes };
}

type Source = { content: Content; settings: RegistrySettings };

function tagsPage(repository: string, { query }: Exchange, { content, settings }: Source): Answer {
  const n = query.get('n');
  const last = query.get('last') ?? '';
  if (n !== null && !/^\d+$/.test(n)) return ociError(400, 'PAGINATION_NUMBER_INVALID', 'n is not a number');
  const limit = Math.min(Number(n ?? settings.pageLimit), settings.pageLimit);
  const after = content.tags(repository).filter((tag) => tag > last);
  const tags = after.slice(0, limit);
  // OCI distribution-spec, listing tags: n=0 is an empty list, without a Link.
  const more = limit > 0 && after.length > tags.length;
  const link = `${settings.basePath}/v2/${repository}/tags/list?n=${limit}&last=${encodeURIComponent(tags.at(-1) ?? '')}`;
  return jsonAnswer(200, { name: repository, tags }, more ? { link: `<${link}>; rel="next"` } : {});
}

function referrersPage(
  { repository, reference }: { repository: string; reference: string },
  { query }: Exchange,
  { content, settings }: Source,
): Answer {
  if (!settings.referrers) {
    return { status: 404, headers: { 'content-type': 'text/plain; charset=utf-8' }, body: '404 page not found\n' };
  }
  const artifactType = query.get('artifactType');
  const last = query.get('last') ?? '';
  const after = content
    .referrers(repository, reference)
    .filter((entry) => String(entry['digest']) > last && (!artifactType || entry['artifactType'] === artifactType));
  const manifests = after.slice(0, settings.pageLimit);
  const mediaType = 'application/vnd.oci.image.index.v1+json';
  const rest = new URLSearchParams({
    ...(artifactType && { artifactType }),
    last: String(manifests.at(-1)?.['digest'] ?? ''),
  });
  const link = `<${settings.basePath}/v2/${repository}/referrers/${reference}?${rest}>; rel="next"`;
  return jsonAnswer(
    200,
    { schemaVersion: 2, mediaType, manifests },
    {
      'content-type': mediaType,
      ...(artifactType && { 'oci-filters-applied': 'artifactType' }),
      ...(after.length > manifests.length && { link }),
    },
  );
}
