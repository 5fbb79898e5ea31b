import { type Digest, digestAlgorithm, digestHex, isDigest } from '../oci/digest.ts';
import { isIndexType, mediaTypes } from '../oci/media-type.ts';
import type { Clock } from '../runtime/clock.ts';
import { createRecent } from '../runtime/recent.ts';
import { isJsonObject, type JsonObject, readJsonObject } from './json-answer.ts';
import { letGo } from './let-go.ts';
import { nextPageQuery } from './link-header.ts';
import type { Manifests } from './manifests.ts';
import { hear } from './own-voice.ts';
import type { Answer, Ask } from './question.ts';
import { interpretRefusal } from './refusal.ts';
import type { Query, Referrers, Reply, Upstream } from './upstream.ts';
import { UpstreamError, type UpstreamErrorCode } from './upstream-error.ts';

/** The part of an upstream that lists what refers to a manifest. */
export type ReferrersPart = Pick<Upstream, 'listReferrers'>;

/** What listing referrers takes. */
export interface ReferrersParts {
  /** The upstream's key. */
  key: string;
  markers: readonly string[];
  clock: Clock;
  /** Asks for the manifest under the fallback tag. */
  fetchManifest: Manifests['fetchManifest'];
}

type SubjectQuery = Query & { digest: Digest };

const dayMs = 86_400_000;
const mostPages = 100;
// Of all pages. A list that goes on is refused, never cut: what is missing would read as unsigned.
const mostBytes = 8 * 1024 * 1024;
const mostRepositories = 1_000;

/** Makes the part of an upstream that lists referrers: by the API, or by the tag schema where there is none. */
export function createReferrers(ask: Ask, { key, markers, clock, fetchManifest }: ReferrersParts): ReferrersPart {
  // OCI distribution-spec, listing referrers: the tag schema is for registries without the API; which that is, lasts.
  let apiMissingUntil = Number.NEGATIVE_INFINITY;
  let apiKnownUntil = Number.NEGATIVE_INFINITY;
  // Several registries may stand behind one URL: of which repositories an API answered, and until when that counts.
  const known = createRecent<string, number>(mostRepositories);

  const subjectOf = ({ repository, digest }: SubjectQuery) => `the referrers of ${repository}@${digest}`;

  function fail(query: SubjectQuery, code: UpstreamErrorCode, why: string): UpstreamError {
    return new UpstreamError(code, `${key} ${why} for ${subjectOf(query)}`, { upstream: key });
  }

  function askPage(query: SubjectQuery, search: string): Promise<Answer> {
    const { repository, digest, scope, caller, deadlineAt, signal } = query;
    return ask({
      operation: 'list',
      method: 'GET',
      path: `${repository}/referrers/${digest}`,
      search,
      headers: { accept: mediaTypes.ociIndex },
      subject: subjectOf(query),
      repository,
      scope,
      caller,
      deadlineAt,
      signal,
    });
  }

  async function pagesFrom(query: SubjectQuery, first: Answer): Promise<Reply<Referrers>> {
    const manifests: JsonObject[] = [];
    let left = mostBytes;
    let answer = first;
    for (let page = 1; ; page++) {
      const { object, bytes } = await readJsonObject(answer, { key, subject: subjectOf(query), maxBytes: left });
      const entries = entriesOf(object);
      if (!entries) throw fail(query, 'foreign-answer', 'sent no image index');
      manifests.push(...entries);
      left -= bytes;
      const next = nextPageQuery(answer.headers['link'], answer.url);
      if (next === undefined) return { kind: 'found', value: { manifests } };
      if (page === mostPages || left <= 0) throw fail(query, 'too-large', 'has more than can be listed');
      answer = await askPage(query, `?${new URLSearchParams(next)}`);
      if (answer.status !== 200) {
        // The first page was there; a part of the list is no list.
        letGo(answer);
        throw fail(query, 'server-error', `answered ${answer.status} to a further page`);
      }
    }
  }

  async function byTagSchema(query: SubjectQuery): Promise<Reply<Referrers>> {
    const { digest, ...rest } = query;
    const tag = `${digestAlgorithm(digest)}-${digestHex(digest)}`;
    const reply = await fetchManifest({ ...rest, reference: { kind: 'tag', tag } });
    if (reply.kind === 'absent') return { kind: 'found', value: { manifests: [] } };
    if (reply.kind !== 'found') return reply;
    const { descriptor, bytes } = reply.value;
    // Its bytes were parsed when they were verified.
    const body: unknown = JSON.parse(new TextDecoder().decode(bytes));
    const manifests = isIndexType(descriptor.mediaType) && isJsonObject(body) ? entriesOf(body) : undefined;
    if (!manifests) throw fail(query, 'foreign-answer', `has no image index under the tag ${tag}`);
    return { kind: 'found', value: { manifests } };
  }

  async function byApi(query: SubjectQuery, first: Answer): Promise<Reply<Referrers>> {
    const reply = await pagesFrom(query, first);
    apiKnownUntil = clock.monotonic() + dayMs;
    apiMissingUntil = Number.NEGATIVE_INFINITY;
    known.set(query.repository, apiKnownUntil);
    return reply;
  }

  return {
    async listReferrers(query) {
      if (clock.monotonic() < apiMissingUntil) return await byTagSchema(query);
      const answer = await askPage(query, '');
      if (answer.status === 200) return await byApi(query, answer);
      const isMissing = answer.status === 404 || answer.status === 405;
      if (!isMissing) return await interpretRefusal(answer, { key, subject: subjectOf(query), markers });
      const { own, code, message } = await hear(answer.body, markers);
      if (code === 'NAME_UNKNOWN') return { kind: 'absent', code, message };
      // A registry's own 404 is about the repository or the subject. Web servers say 404 to paths that they do not know.
      const isOfPath = answer.status === 405 || !own || code === 'UNSUPPORTED';
      if (isOfPath && clock.monotonic() < (known.get(query.repository) ?? Number.NEGATIVE_INFINITY)) {
        throw fail(query, 'foreign-answer', `answered ${answer.status}, although it has a referrers API,`);
      }
      const reply = await byTagSchema(query);
      const now = clock.monotonic();
      if (isOfPath && reply.kind === 'found' && now >= apiKnownUntil) apiMissingUntil = now + dayMs;
      return reply;
    },
  };
}

/** The descriptors of an index as they came; `undefined` where it is none. */
function entriesOf({ manifests }: JsonObject): JsonObject[] | undefined {
  if (manifests === null) return [];
  if (!Array.isArray(manifests)) return undefined;
  const isDescriptor = (entry: unknown): entry is JsonObject =>
    isJsonObject(entry) && typeof entry['digest'] === 'string' && isDigest(entry['digest']);
  return manifests.every(isDescriptor) ? manifests : undefined;
}
