import { describe, expect, it } from 'vitest';
import type { CatalogAnswer } from './answer.ts';
import { createListRepositories } from './list-repositories.ts';
import type { PullParts } from './pull-parts.ts';

const { signal } = new AbortController();

/** The pages of a catalog of so many repositories, of which only some are shown. */
async function pagesOf(count: number, n: number, shows?: (name: string) => boolean) {
  const names = Array.from({ length: count }, (_, index) => `app-${String(index).padStart(5, '0')}`);
  const list = async (upstream: string) => names.map((repository) => ({ upstream, repository }));
  const asked: string[] = [];
  const answer = createListRepositories({ repositories: { list } } as unknown as PullParts, () => [
    { key: 'up', names: undefined, callerOf: undefined },
  ]);
  const view = {
    signal,
    shows:
      shows &&
      (async ({ repository }: { repository: string }) => {
        asked.push(repository);
        return shows(repository);
      }),
  };
  const pages: CatalogAnswer[] = [];
  let cursor: string | undefined;
  do {
    const page = await answer({ n, ...(cursor !== undefined && { cursor }) }, view);
    pages.push(page);
    cursor = page.next;
  } while (cursor !== undefined);
  return { pages, shown: pages.flatMap(({ repositories }) => repositories), asked };
}

describe('a catalog', () => {
  it('is shown page by page', async () => {
    const { pages, shown } = await pagesOf(7, 3);
    expect(pages.map(({ repositories }) => repositories.length)).toEqual([3, 3, 1]);
    expect(shown).toEqual([...new Set(shown)].sort());
    expect((await pagesOf(6, 3)).pages).toHaveLength(2);
  });

  it('that hides some gives full pages of the others, each once, and no hidden name in a cursor', async () => {
    const even = (name: string) => Number(name.slice(4)) % 2 === 0;
    for (const n of [1, 2, 3, 5, 8, 100]) {
      const { pages, shown } = await pagesOf(41, n, even);
      expect(shown).toHaveLength(21);
      expect(new Set(shown).size).toBe(21);
      for (const { next, repositories } of pages) {
        if (next === undefined) continue;
        expect(repositories).toHaveLength(n);
        expect(next).toBe(repositories.at(-1));
      }
    }
  });

  it('that hides nearly all looks at a thousand for a page, says where to go on, and not by their names', async () => {
    const { pages, shown, asked } = await pagesOf(2500, 10, (name) => name === 'app-02400');
    expect(shown).toEqual(['up/app-02400']);
    expect(pages.map(({ next }) => next)).toEqual(['+1000', '+2000', undefined]);
    expect(asked).toHaveLength(2500);
  });

  it('is not gone on with by a cursor that is none of ours', async () => {
    const answer = createListRepositories({} as unknown as PullParts, () => []);
    await expect(answer({ cursor: '+1x' }, { signal })).rejects.toMatchObject({ code: 'page-invalid' });
    expect(await answer({ cursor: '+999999999' }, { signal })).toEqual({ repositories: [] });
    expect(await answer({ cursor: 'up/z' }, { signal })).toEqual({ repositories: [] });
  });
});
