import type { KnownRepository } from '../catalog/repositories.ts';
import { turn } from '../runtime/turn.ts';
import { type LastUses, lastUses } from './plan.ts';
import { readRecords } from './read-records.ts';
import { type FoundRepository, readRepository } from './read-repository.ts';
import type { Stay } from './retention-options.ts';
import type { RetentionParts } from './retention-parts.ts';
import type { StoredRepository } from './stored-repositories.ts';

/** A repository, and when all of it was last used. */
export interface Survey {
  stored: StoredRepository;
  /** Its name, as far as anybody knows it. */
  name: string;
  stay: Stay;
  found: FoundRepository;
  uses: LastUses;
}

/** @throws what the metadata store throws; the signal's reason */
export async function surveyRepository(
  parts: RetentionParts,
  stored: StoredRepository,
  { since, isOld, signal }: { since: number; isOld: (usedAt: number, stay: Stay) => boolean; signal: AbortSignal },
): Promise<Survey> {
  const known = stored.repository ?? (await nameOf(parts, stored, signal));
  const stay = parts.stayOf(stored.upstream, known);
  const found = await readRepository({ ...parts, since }, { ...stored, repository: known }, signal);
  const steps = lastUses(found.graph, stay, (usedAt) => isOld(usedAt, stay));
  let step = steps.next();
  for (; !step.done; step = steps.next()) {
    await turn();
    signal.throwIfAborted();
  }
  return { stored, name: known ?? stored.path, stay, found, uses: step.value };
}

/** The name of a repository whose keys have a hash of it. */
async function nameOf(
  parts: RetentionParts,
  stored: StoredRepository,
  signal: AbortSignal,
): Promise<string | undefined> {
  const [record] = await readRecords<KnownRepository>(parts, [repositoryKey(stored)], signal);
  return typeof record === 'object' ? record.repository : undefined;
}

/** The key of the record that tells of a repository. */
export function repositoryKey({ path }: StoredRepository): string {
  const [upstream, , name] = path.split('/');
  return `repository/${upstream}/${name}`;
}
