import type { Contestant } from './contestant.ts';

/** No cache at all: the client asks the upstream. */
export const directContestant: Contestant = {
  name: 'direct',
  isCache: true,
  start: async ({ upstream }) => ({ url: upstream, stop: async () => undefined }),
};
