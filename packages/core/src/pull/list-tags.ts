import { createFlights } from '../runtime/collapse.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { PageQuery, Reply, TagPage } from '../upstream/upstream.ts';
import { isUpstreamError } from '../upstream/upstream-error.ts';
import type { TagsAnswer } from './answer.ts';
import type { PullParts } from './pull-parts.ts';
import { refusedReply } from './refusal.ts';
import { queryOf, type Target, targetKey } from './target.ts';

/** A request for a page of a repository's tags. `page.cursor` is one that an answer's `next` gave. */
export interface TagsPull {
  target: Target;
  page: PageQuery;
  signal: AbortSignal;
}

/** Answers lists of tags. */
export type ListTags = (request: TagsPull) => Promise<TagsAnswer>;

// What a cursor of ours says, before the upstream's own cursor or the last tag of a page of stored ones.
const upstreamCursor = 'u.';
const storedCursor = 's.';

/**
 * The upstream's pages, in its order; the tags stored here while it fails, said to be partial (OCI distribution-spec,
 * listing tags).
 */
export function createListTags(parts: PullParts): ListTags {
  const flights = createFlights<Reply<TagPage>>();

  return async (request) => {
    const { target, signal } = request;
    const page = pageOf(request.page);
    if (page.n === 0) return { tags: [], cacheStatus: { hit: true } };
    try {
      const key = `${targetKey(target)} ${page.n ?? ''} ${page.last ?? ''} ${page.cursor ?? ''}`;
      const collapsed = flights.has(key);
      const reply = await flights.join(
        key,
        (signalOfAll) => {
          const within = { ms: target.upstream.manifestWithinMs, signal: signalOfAll };
          return target.upstream.client.listTags({ ...queryOf(target, parts.clock.monotonic(), within), ...page });
        },
        signal,
      );
      if (reply.kind !== 'found')
        throw refusedReply(target, reply, { of: 'name-unknown', subject: 'the list of tags' });
      const { tags, next } = reply.value;
      return {
        tags,
        ...(next !== undefined && { next: `${upstreamCursor}${next}` }),
        cacheStatus: { hit: false, fwd: 'miss', fwdStatus: 200, ...(collapsed && { collapsed }) },
      };
    } catch (error) {
      // A page of the upstream's own order cannot be gone on with from here.
      if (!isUpstreamError(error) || page.cursor !== undefined) throw error;
      return storedTags(request, page, error);
    }
  };

  async function storedTags({ target, signal }: TagsPull, page: PageQuery, error: unknown): Promise<TagsAnswer> {
    const all = await parts.tags.stored(target.place, signal).catch(() => []);
    if (all.length === 0) throw error;
    const { last } = page;
    const rest = last === undefined ? all : all.filter((tag) => tag > last);
    const tags = rest.slice(0, page.n);
    const end = tags.at(-1);
    return {
      tags,
      ...(tags.length < rest.length && end !== undefined && { next: `${storedCursor}${end}` }),
      warning: 'partial list: upstream unavailable',
      cacheStatus: { hit: false, fwd: 'stale', detail: 'stale-failed' },
    };
  }
}

function pageOf({ n, last, cursor }: PageQuery): PageQuery {
  const page: PageQuery = { ...(n !== undefined && { n }) };
  if (cursor?.startsWith(upstreamCursor)) return { ...page, cursor: cursor.slice(upstreamCursor.length) };
  if (cursor?.startsWith(storedCursor)) return { ...page, last: cursor.slice(storedCursor.length) };
  if (cursor !== undefined) throw new ProxyCacheError('page-invalid', 'the cursor is not one we gave');
  return { ...page, ...(last !== undefined && { last }) };
}
