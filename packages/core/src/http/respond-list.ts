import { mediaTypes } from '../oci/media-type.ts';
import type { CatalogAnswer, ReferrersAnswer, TagsAnswer } from '../pull/answer.ts';
import type { PageQuery } from '../upstream/upstream.ts';
import { baseHeaders, cacheStatusHeader, changingContent, warningHeader } from './answer-headers.ts';
import type { HttpRequest, HttpResponse } from './message.ts';

/** What a list's headers depend on beside the answer. */
export interface ListOptions {
  /** The source host that was asked for: echoed, and kept in links. */
  ns: string | undefined;
  /** Origin for links (`https://mirror.example`); without one they are relative. */
  publicUrl: string | undefined;
}

/** The answer to "is this a registry?". */
export function respondPing(request: HttpRequest): HttpResponse {
  return writeJson(request, { headers: listHeaders(undefined), value: {} });
}

/** A page of tags, with a link to the next. @param list.clientName the repository's name as the client knows it */
export function respondTags(
  answer: TagsAnswer,
  request: HttpRequest,
  list: ListOptions & { clientName: string; page: PageQuery },
): HttpResponse {
  const headers = listHeaders(list.ns, answer);
  // OCI distribution-spec, listing tags: n=0 gives an empty list and no Link.
  const empty = list.page.n === 0;
  if (answer.next !== undefined && !empty) {
    headers['link'] = nextLink(request, list, { path: `${list.clientName}/tags/list`, cursor: answer.next });
  }
  return writeJson(request, { headers, value: { name: list.clientName, tags: empty ? [] : answer.tags } });
}

/** A page of the repositories that are served, with a link to the next. */
export function respondCatalog(
  answer: CatalogAnswer,
  request: HttpRequest,
  list: ListOptions & { page: PageQuery },
): HttpResponse {
  const headers = listHeaders(list.ns);
  const empty = list.page.n === 0;
  if (answer.next !== undefined && !empty) {
    headers['link'] = nextLink(request, list, { path: '_catalog', cursor: answer.next });
  }
  return writeJson(request, { headers, value: { repositories: empty ? [] : answer.repositories } });
}

/** What refers to a subject, as an image index, filtered by artifact type where that was asked for. */
export function respondReferrers(
  answer: ReferrersAnswer,
  request: HttpRequest,
  list: Pick<ListOptions, 'ns'> & { artifactType: string | undefined },
): HttpResponse {
  const { artifactType } = list;
  const headers = listHeaders(list.ns, answer);
  headers['content-type'] = mediaTypes.ociIndex;
  if (artifactType !== undefined) headers['oci-filters-applied'] = 'artifactType';
  const manifests =
    artifactType === undefined
      ? answer.manifests
      : answer.manifests.filter((manifest) => manifest['artifactType'] === artifactType);
  return writeJson(request, { headers, value: { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests } });
}

function listHeaders(ns: string | undefined, answer?: TagsAnswer | ReferrersAnswer): Record<string, string> {
  const headers = baseHeaders(ns);
  headers['content-type'] = 'application/json';
  headers['cache-control'] = changingContent;
  headers['cache-status'] = answer ? cacheStatusHeader(answer.cacheStatus) : 'proxycache';
  if (answer?.warning !== undefined) headers['warning'] = warningHeader(answer.warning);
  return headers;
}

// RFC 8288. The Host header is never part of it: a link leads where the client came from, or to the public URL.
function nextLink(
  request: HttpRequest,
  list: ListOptions & { page: PageQuery },
  next: { path: string; cursor: string },
): string {
  const origin = list.publicUrl?.endsWith('/') ? list.publicUrl.slice(0, -1) : (list.publicUrl ?? '');
  const ns = list.ns ? `ns=${encodeURIComponent(list.ns)}&` : '';
  const n = list.page.n === undefined ? '' : `n=${list.page.n}&`;
  const query = `${ns}${n}cursor=${encodeURIComponent(next.cursor)}`;
  return `<${origin}${request.basePath}/v2/${next.path}?${query}>; rel="next"`;
}

function writeJson(request: HttpRequest, answer: { headers: Record<string, string>; value: unknown }): HttpResponse {
  const body = Buffer.from(JSON.stringify(answer.value));
  const headers = { ...answer.headers, 'content-length': String(body.byteLength) };
  return { status: 200, headers, body: request.method === 'HEAD' ? null : body };
}
