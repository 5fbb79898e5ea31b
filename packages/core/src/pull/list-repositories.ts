import type { KnownRepository } from '../catalog/repositories.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { PageQuery } from '../upstream/upstream.ts';
import type { CatalogAnswer } from './answer.ts';
import type { PullParts } from './pull-parts.ts';
import type { PullUpstream } from './target.ts';

/** Who is shown a page. */
export interface CatalogView {
  signal: AbortSignal;
  /** Whether a repository is in it. Default: all are. */
  shows?: ((repository: KnownRepository) => Promise<boolean>) | undefined;
}

/** Answers pages of the repositories that something is stored of, as clients name them: `<key>/<repository>`. */
export type ListRepositories = (page: PageQuery, view: CatalogView) => Promise<CatalogAnswer>;

const pageSize = 100;
// So many are looked at for one page, a few at a time: then it is shorter than it might be, and says where to go on.
const mostLookedAt = 1000;
const lookedAtOnce = 8;

/** @param upstreams those that are served now */
export function createListRepositories(
  parts: PullParts,
  upstreams: readonly Pick<PullUpstream, 'key' | 'names' | 'callerOf'>[],
): ListRepositories {
  async function list(key: string, signal: AbortSignal): Promise<KnownRepository[]> {
    try {
      return await parts.repositories.list(key, signal);
    } catch (cause) {
      signal.throwIfAborted();
      throw new ProxyCacheError('storage-failed', `the repositories of ${key} cannot be listed`, { cause });
    }
  }

  return async ({ n = pageSize, last, cursor }, { signal, shows }) => {
    const after = cursor ?? last;
    const known: (KnownRepository & { name: string })[] = [];
    for (const { key, names: rules, callerOf } of upstreams) {
      // What is stored of it each caller may know for itself alone.
      if (callerOf) continue;
      const found = (await list(key, signal)).filter(({ repository }) => !rules?.reasonAgainst(repository));
      known.push(...found.map(({ repository }) => ({ upstream: key, repository, name: `${key}/${repository}` })));
    }
    const rest = known
      .filter(({ name }) => after === undefined || name > after)
      .sort((one, other) => (one.name < other.name ? -1 : 1));
    const { shown, seen } = await shownOf(rest, { n, signal, shows });
    const end = rest[seen - 1];
    return { repositories: shown, ...(seen < rest.length && end !== undefined && { next: end.name }) };
  };
}

/** The first `n` of those that are shown, and how many had to be looked at for them. */
async function shownOf(
  rest: readonly (KnownRepository & { name: string })[],
  { n, signal, shows }: CatalogView & { n: number },
): Promise<{ shown: string[]; seen: number }> {
  if (!shows) {
    const shown = rest.slice(0, n).map(({ name }) => name);
    return { shown, seen: shown.length };
  }
  const shown: string[] = [];
  let seen = 0;
  while (shown.length < n && seen < Math.min(rest.length, mostLookedAt)) {
    signal.throwIfAborted();
    const some = rest.slice(seen, seen + Math.min(lookedAtOnce, n - shown.length));
    const answers = await Promise.all(some.map((one) => shows(one)));
    shown.push(...some.filter((_, index) => answers[index]).map(({ name }) => name));
    seen += some.length;
  }
  return { shown, seen };
}
