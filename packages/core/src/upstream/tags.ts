import { ProxyCacheError } from '../runtime/errors.ts';
import { readJsonObject } from './json-answer.ts';
import { nextPageQuery } from './link-header.ts';
import type { Ask } from './question.ts';
import { interpretRefusal } from './refusal.ts';
import type { TagPage, Upstream } from './upstream.ts';
import { UpstreamError } from './upstream-error.ts';

/** The part of an upstream that is about lists of tags. */
export type Tags = Pick<Upstream, 'listTags'>;

// Some ten thousand tags of the longest kind, of which a page has far fewer.
const longestPage = 8 * 1024 * 1024;
const longestCursor = 2_048;

/** Makes the part of an upstream that lists tags, page by page as the upstream cuts them. */
export function createTags(ask: Ask, options: { key: string; markers: readonly string[] }): Tags {
  const { key, markers } = options;
  return {
    async listTags({ repository, scope, caller, deadlineAt, signal, ...page }) {
      const subject = `the tags of ${repository}`;
      const path = `${repository}/tags/list`;
      const search = searchOf(page);
      const answer = await ask({
        operation: 'list',
        method: 'GET',
        path,
        search,
        headers: { accept: 'application/json' },
        subject,
        repository,
        scope,
        caller,
        deadlineAt,
        signal,
      });
      if (answer.status !== 200) return await interpretRefusal(answer, { key, subject, markers });
      const { object } = await readJsonObject(answer, { key, subject, maxBytes: longestPage });
      const { tags } = object;
      // An empty list is null where Go wrote it.
      if (tags !== null && !Array.isArray(tags)) {
        throw new UpstreamError('foreign-answer', `${key} sent no list for ${subject}`, { upstream: key });
      }
      const next = nextPageQuery(answer.headers['link'], answer.url);
      // Without it the list would look as if it ended here.
      if (next !== undefined && next.length > longestCursor) {
        const message = `${key} sent a link of more than ${longestCursor} characters to more of ${subject}`;
        throw new UpstreamError('too-large', message, { upstream: key });
      }
      const found: TagPage = {
        tags: (tags ?? []).filter((tag: unknown) => typeof tag === 'string'),
        ...(next !== undefined && { next }),
      };
      return { kind: 'found', value: found };
    },
  };
}

function searchOf({ n, last, cursor }: { n?: number; last?: string; cursor?: string }): string {
  if (cursor !== undefined) {
    // It went through a client's hands: nothing but a query may come of it.
    if (cursor.length > longestCursor) throw new ProxyCacheError('page-invalid', 'the cursor is not one we gave');
    const query = new URLSearchParams(cursor);
    // OCI distribution-spec, registry proxying: of a cache behind this one it would list another registry's repository.
    query.delete('ns');
    return `?${query}`;
  }
  const query = new URLSearchParams();
  if (n !== undefined) query.set('n', String(n));
  if (last !== undefined) query.set('last', last);
  return query.size > 0 ? `?${query}` : '';
}
