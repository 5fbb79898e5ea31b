import type { MetadataStore } from '../store/metadata-store.ts';
import type { RetentionParts } from './retention-parts.ts';
import type { StoredRepository } from './stored-repositories.ts';

const channel = 'retention/forgotten';

type Parts = Pick<RetentionParts, 'metadata' | 'repositories' | 'coordinator'>;

/** A repository of which nothing is left is listed no more. */
export async function forgetRepository(
  { metadata, repositories, coordinator }: Parts,
  key: string,
  places: readonly StoredRepository[],
  signal: AbortSignal,
): Promise<void> {
  const entry = await metadata.get(key, { signal });
  // Somebody may have pulled from it meanwhile.
  if (!entry || (await isLeft(metadata, places, signal))) return;
  if (!(await repositories.remove(key, entry.version, signal))) return;
  // Those that are not told take it for noted, and do not note it when they pull from it again.
  await coordinator?.publish(channel, key).catch(() => undefined);
  // Whoever pulled from it before took it for noted, too.
  if (await isLeft(metadata, places, signal)) await metadata.set(key, entry.value, { ifVersion: 'absent', signal });
}

/** Lets memory forget what other processes forget. @returns what ends that */
export function followForgotten({ coordinator, repositories }: Omit<Parts, 'metadata'>): () => void {
  const stop = coordinator?.subscribe(channel, repositories.forget);
  return () => stop?.();
}

async function isLeft(
  metadata: MetadataStore,
  places: readonly StoredRepository[],
  signal: AbortSignal,
): Promise<boolean> {
  for (const { path } of places) {
    for (const kind of ['tag', 'link']) {
      if ((await metadata.list(`${kind}/${path}`, { limit: 1, signal })).length > 0) return true;
    }
  }
  return false;
}
