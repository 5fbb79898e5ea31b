import { textOf } from '../catalog/keys.ts';
import { decodeRecord, isDamaged, isOtherFormat } from '../catalog/record-codec.ts';
import { listAll } from '../catalog/tag-records.ts';
import { isDigest } from '../oci/digest.ts';
import { turn } from '../runtime/turn.ts';
import { markOf } from './graph.ts';
import type { RetentionParts } from './retention-parts.ts';
import type { Survey } from './survey.ts';

/** Of what a record of parents tells, as far as it matters here. */
interface NotedRecord {
  notedAt?: number;
}

/**
 * Removes what admission noted of content that is here no more, nor was asked for lately. It is noted anew with the next
 * manifest that names it.
 *
 * @param how.isOld whether what was last used, or noted, then may go
 * @throws what the store throws; the signal's reason
 */
export async function forgetParents(
  { metadata }: Pick<RetentionParts, 'metadata'>,
  { stored, found, uses }: Survey,
  { isOld, since, signal }: { isOld: (usedAt: number) => boolean; since: number; signal: AbortSignal },
): Promise<void> {
  const prefix = `parents/${stored.path}`;
  const isHere = (name: string | undefined) => {
    const number = name !== undefined && isDigest(name) ? found.graph.find(markOf(name)) : undefined;
    return number !== undefined && !isOld(uses.content[number] as number);
  };
  for await (const key of listAll(metadata, prefix, signal)) {
    await turn();
    if (isHere(textOf(key.slice(prefix.length)))) continue;
    const entry = await metadata.get(key, { signal }).catch(unreadable);
    if (!entry) continue;
    try {
      const { notedAt = since } = decodeRecord<NotedRecord>(key, entry.value);
      if (isOld(notedAt)) await metadata.delete(key, { ifVersion: entry.version, signal });
    } catch (error) {
      unreadable(error);
    }
  }
}

/** It says nothing that this release knows: it stays. */
function unreadable(error: unknown): undefined {
  if (isDamaged(error) || isOtherFormat(error)) return undefined;
  throw error;
}
