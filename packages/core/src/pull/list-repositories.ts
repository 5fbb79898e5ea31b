import type { KnownRepository } from '../catalog/repositories.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { PageQuery } from '../upstream/upstream.ts';
import type { CatalogAnswer } from './answer.ts';
import type { PullParts } from './pull-parts.ts';
import type { PullUpstream } from './target.ts';

/** Answers pages of the repositories that something is stored of, as clients name them: `<key>/<repository>`. */
export type ListRepositories = (page: PageQuery, signal: AbortSignal) => Promise<CatalogAnswer>;

const pageSize = 100;

/** @param upstreams those that are served now */
export function createListRepositories(
  parts: PullParts,
  upstreams: readonly Pick<PullUpstream, 'key' | 'names'>[],
): ListRepositories {
  async function list(key: string, signal: AbortSignal): Promise<KnownRepository[]> {
    try {
      return await parts.repositories.list(key, signal);
    } catch (cause) {
      signal.throwIfAborted();
      throw new ProxyCacheError('storage-failed', `the repositories of ${key} cannot be listed`, { cause });
    }
  }

  return async ({ n = pageSize, last, cursor }, signal) => {
    const after = cursor ?? last;
    const names: string[] = [];
    for (const { key, names: rules } of upstreams) {
      const known = (await list(key, signal)).filter(({ repository }) => !rules?.reasonAgainst(repository));
      names.push(...known.map(({ repository }) => `${key}/${repository}`));
    }
    const rest = names.sort().filter((name) => after === undefined || name > after);
    const repositories = rest.slice(0, n);
    const end = repositories.at(-1);
    return { repositories, ...(repositories.length < rest.length && end !== undefined && { next: end }) };
  };
}
