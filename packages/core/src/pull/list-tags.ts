import { createFlights } from '../runtime/collapse.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { orLate } from '../runtime/or-late.ts';
import { traceFlights } from '../runtime/trace-flights.ts';
import { storeFailed } from '../store/events.ts';
import type { PageQuery, Reply, TagPage } from '../upstream/upstream.ts';
import { isUpstreamError } from '../upstream/upstream-error.ts';
import type { TagsAnswer } from './answer.ts';
import { createAskJointly } from './ask-jointly.ts';
import type { PullParts } from './pull-parts.ts';
import { refusedReply } from './refusal.ts';
import { storedTag } from './stored-tag.ts';
import { queryOf, type Target, targetKey } from './target.ts';

/** A request for a page of a repository's tags. `page.cursor` is one that an answer's `next` gave. */
export interface TagsPull {
  target: Target;
  page: PageQuery;
  signal: AbortSignal;
}

/** Answers lists of tags. */
export type ListTags = (request: TagsPull) => Promise<TagsAnswer>;

type Asked = { reply: Reply<TagPage>; collapsed: boolean };

// What a cursor of ours says, before the upstream's own cursor or the last tag of a page that we cut.
const upstreamCursor = 'u.';
const ownCursor = 's.';

/**
 * The upstream's pages, in its order; the tags stored here while it fails, said to be partial (OCI distribution-spec,
 * listing tags). With those that its own rules exclude: see {@link withoutExcludedTags}.
 */
export function createListTags(parts: PullParts): ListTags {
  const flights = traceFlights(createFlights<Reply<TagPage>>(), parts.trace, 'ask for tags');
  const askJointly = createAskJointly(flights, parts.clock);

  function ask(target: Target, page: PageQuery, signal: AbortSignal): Promise<Asked> {
    const key = `${targetKey(target)} ${page.n ?? ''} ${page.last ?? ''} ${page.cursor ?? ''}`;
    return askJointly({
      ...{ target, key, signal },
      ask(signalOfAll) {
        const within = { ms: target.upstream.manifestWithinMs, signal: signalOfAll };
        return target.upstream.client.listTags({ ...queryOf(target, parts.clock.monotonic(), within), ...page });
      },
    });
  }

  async function list(request: TagsPull): Promise<TagsAnswer> {
    const { target, signal } = request;
    const page = pageOf(request.page);
    if (page.n === 0) return { tags: [], cacheStatus: { hit: true } };
    // A page of the upstream's own order cannot be gone on with from here.
    const mayBeStored = page.cursor === undefined;
    const isProbe = mayBeStored && target.upstream.client.state(target.place) === 'half-open';
    try {
      const asking = ask(target, page, signal);
      const asked = await (isProbe ? orStored(request, page, asking) : asking);
      if ('stored' in asked) return asked.stored;
      const { reply, collapsed } = asked;
      if (reply.kind !== 'found')
        throw refusedReply(target, reply, { of: 'name-unknown', subject: 'the list of tags' });
      return {
        ...cut(reply.value, page),
        cacheStatus: { hit: false, fwd: 'miss', fwdStatus: 200, ...(collapsed && { collapsed }) },
      };
    } catch (error) {
      const stored = isUpstreamError(error) && mayBeStored ? await storedTags(request, page) : undefined;
      if (!stored) throw error;
      return stored;
    }
  }

  /**
   * SEMANTICS 32: nobody who can have what is stored waits long for an upstream that is not known to be back. A little,
   * because part of a list is worth less than the whole.
   */
  function orStored(request: TagsPull, page: PageQuery, asking: Promise<Asked>) {
    const late = async () => {
      const answer = await storedTags(request, page);
      return answer ? { stored: answer } : asking;
    };
    return orLate<Asked | { stored: TagsAnswer }>(asking, {
      clock: parts.clock,
      ms: request.target.upstream.validateWithinMs,
      late,
    });
  }

  /** Of the tags after one those that would be served now, at most `most`. */
  async function served(request: TagsPull, after: string | undefined, most: number): Promise<string[]> {
    const { target, signal } = request;
    const found: string[] = [];
    try {
      for await (const tag of parts.tags.list(target.place, { after, signal })) {
        if (await storedTag(parts, { ...request, tag })) found.push(tag);
        if (found.length === most) break;
      }
      return found;
    } catch (error) {
      signal.throwIfAborted();
      const { upstream, repository } = target.place;
      parts.observe(storeFailed('metadata-list', `${upstream}/${repository}`, error));
      return [];
    }
  }

  async function storedTags(request: TagsPull, page: PageQuery): Promise<TagsAnswer | undefined> {
    const { last, n = Number.POSITIVE_INFINITY } = page;
    const found = await served(request, last, n + 1);
    // SEMANTICS 30: a page behind the last known tag may be empty, a list of nothing may not.
    if (found.length === 0 && (last === undefined || (await served(request, undefined, 1)).length === 0))
      return undefined;
    const tags = found.slice(0, n);
    const end = tags.at(-1);
    return {
      tags,
      ...(tags.length < found.length && end !== undefined && { next: `${ownCursor}${end}` }),
      warning: 'partial list: upstream unavailable',
      cacheStatus: { hit: false, fwd: 'stale', detail: 'stale-failed' },
    };
  }

  return list;
}

/** The same lists without the tags that their upstream's own rules exclude. */
export function withoutExcludedTags(listTags: ListTags): ListTags {
  return async (request) => {
    const { place, upstream } = request.target;
    const answer = await listTags(request);
    // A page may be shorter than was asked for (OCI distribution-spec, listing tags); the next one goes on behind it.
    const tags = upstream.names && answer.tags.filter((tag) => !upstream.names?.reasonAgainst(place.repository, tag));
    return tags ? { ...answer, tags } : answer;
  };
}

/**
 * What of an upstream's answer is the page that was asked for: all of it, unless the upstream heeds neither `n` nor `last`,
 * as Docker's distribution 2 (OCI distribution-spec, listing tags: in order, no more than `n`, none up to `last`).
 */
function cut(
  { tags, next }: TagPage,
  { n = Number.POSITIVE_INFINITY, last }: PageQuery,
): Pick<TagsAnswer, 'tags' | 'next'> {
  const more = next === undefined ? {} : { next: `${upstreamCursor}${next}` };
  if (tags.length <= n && (last === undefined || !tags.includes(last))) return { tags, ...more };
  // Only in the order that the specification wants does one page go on where another ended.
  const rest = tags.filter((tag) => last === undefined || tag > last).sort();
  const page = rest.slice(0, n);
  const end = page.at(-1);
  return { tags: page, ...(end !== undefined && page.length < rest.length ? { next: `${ownCursor}${end}` } : more) };
}

function pageOf({ n, last, cursor }: PageQuery): PageQuery {
  const page: PageQuery = { ...(n !== undefined && { n }) };
  if (cursor?.startsWith(upstreamCursor)) return { ...page, cursor: cursor.slice(upstreamCursor.length) };
  if (cursor?.startsWith(ownCursor)) return { ...page, last: cursor.slice(ownCursor.length) };
  if (cursor !== undefined) throw new ProxyCacheError('page-invalid', 'the cursor is not one we gave');
  return { ...page, ...(last !== undefined && { last }) };
}
