import { prefixOf, textOf } from '../catalog/keys.ts';
import type { MetadataStore } from '../store/metadata-store.ts';

/** A repository as the keys of its records name it. */
export interface StoredRepository {
  upstream: string;
  scope: string;
  /** Its name; `undefined` where the keys have a hash of it. */
  repository: string | undefined;
  /** What its keys have in common, after their kind: `docker-hub/-/library%2Falpine/`. */
  path: string;
}

/** The kinds of records that are a repository's own. */
const recordKinds = ['tag', 'link', 'referrers', 'use', 'parents'] as const;

const pageSize = 500;

// Behind each key of a repository: no segment has anything that comes after `~`, or is as long.
const afterAll = '~'.repeat(201);

/** Every repository that there are records of, once, in no order. What of a page is of one that is known is passed over. */
export async function storedRepositories(metadata: MetadataStore, signal: AbortSignal): Promise<StoredRepository[]> {
  const paths = new Set<string>();
  for (const kind of recordKinds) {
    const prefix = prefixOf(kind);
    for (let after: string | undefined; ; ) {
      const keys = await metadata.list(prefix, { ...(after !== undefined && { after }), limit: pageSize, signal });
      let path: string | undefined;
      for (const key of keys) {
        path = pathOf(key, prefix);
        if (path !== undefined) paths.add(path);
      }
      if (keys.length < pageSize) break;
      after = path === undefined ? keys.at(-1) : prefix + path + afterAll;
    }
  }
  return [...paths].map(repositoryOf);
}

function pathOf(key: string, prefix: string): string | undefined {
  const end = key.lastIndexOf('/') + 1;
  const path = key.slice(prefix.length, end);
  // What a later release may have put there is none of these.
  return path.split('/').length === 4 ? path : undefined;
}

function repositoryOf(path: string): StoredRepository {
  const [upstream = '', scope = '', name = ''] = path.split('/');
  return { upstream: textOf(upstream) ?? upstream, scope: textOf(scope) ?? scope, repository: textOf(name), path };
}
