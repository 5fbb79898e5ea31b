import type { RetentionParts } from './retention-parts.ts';
import type { StoredRepository } from './stored-repositories.ts';

/** A repository of which nothing is left is listed no more. */
export async function forgetRepository(
  { metadata, repositories }: Pick<RetentionParts, 'metadata' | 'repositories'>,
  key: string,
  places: readonly StoredRepository[],
  signal: AbortSignal,
): Promise<void> {
  const entry = await metadata.get(key, { signal });
  for (const { path } of places) {
    for (const kind of ['tag', 'link']) {
      // Somebody may have pulled from it meanwhile.
      if ((await metadata.list(`${kind}/${path}`, { limit: 1, signal })).length > 0) return;
    }
  }
  if (entry) await repositories.remove(key, entry.version, signal);
}
