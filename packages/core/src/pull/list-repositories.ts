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

/** @param upstreams those that are served now, asked each time */
export function createListRepositories(
  parts: PullParts,
  upstreams: () => Iterable<Pick<PullUpstream, 'key' | 'names' | 'callerOf'>>,
): ListRepositories {
  async function list(key: string, signal: AbortSignal): Promise<KnownRepository[]> {
    try {
      return await parts.repositories.list(key, signal);
    } catch (cause) {
      signal.throwIfAborted();
      throw new ProxyCacheError('storage-failed', `the repositories of ${key} cannot be listed`, { cause });
    }
  }

  async function listAll(signal: AbortSignal): Promise<Listed[]> {
    const known: Listed[] = [];
    for (const { key, names: rules, callerOf } of upstreams()) {
      // What is stored of it each caller may know for itself alone.
      if (callerOf) continue;
      const found = (await list(key, signal)).filter(({ repository }) => !rules?.reasonAgainst(repository));
      known.push(...found.map(({ repository }) => ({ upstream: key, repository, name: `${key}/${repository}` })));
    }
    return known.sort((one, other) => (one.name < other.name ? -1 : 1));
  }

  return async ({ n = pageSize, last, cursor }, { signal, shows }) => {
    const all = await listAll(signal);
    const from = firstOf(all, cursor ?? last);
    const { shown, seen } = await shownOf(all.slice(from), { n, signal, shows });
    const repositories = shown.map(({ name }) => name);
    const end = shown.at(-1);
    // No name that is not shown is in a cursor, either.
    if (shown.length < n && from + seen < all.length) return { repositories, next: `${position}${from + seen}` };
    return { repositories, ...(end && shown.length === n && end !== all.at(-1) && { next: end.name }) };
  };
}

type Listed = KnownRepository & { name: string };

// A cursor is the last name of a page, or how many names were looked at: no name begins so.
const position = '+';

/** @throws ProxyCacheError `page-invalid` */
function firstOf(all: readonly Listed[], after: string | undefined): number {
  if (after === undefined) return 0;
  if (after.startsWith(position)) {
    if (/^\+\d{1,9}$/.test(after)) return Number(after.slice(position.length));
    throw new ProxyCacheError('page-invalid', 'the cursor is not one we gave');
  }
  const first = all.findIndex(({ name }) => name > after);
  return first < 0 ? all.length : first;
}

/** The first `n` of those that are shown, and how many had to be looked at for them. */
async function shownOf(
  rest: readonly Listed[],
  { n, signal, shows }: CatalogView & { n: number },
): Promise<{ shown: Listed[]; seen: number }> {
  if (!shows) return { shown: rest.slice(0, n), seen: Math.min(n, rest.length) };
  const shown: Listed[] = [];
  let seen = 0;
  while (shown.length < n && seen < Math.min(rest.length, mostLookedAt)) {
    signal.throwIfAborted();
    const some = rest.slice(seen, seen + Math.min(lookedAtOnce, n - shown.length));
    const answers = await Promise.all(some.map((one) => shows(one)));
    shown.push(...some.filter((_, index) => answers[index]));
    seen += some.length;
  }
  return { shown, seen };
}
