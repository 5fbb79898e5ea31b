import { isDamaged, isOtherFormat } from '../catalog/record-codec.ts';
import { listAll } from '../catalog/tag-records.ts';
import type { Digest } from '../oci/digest.ts';
import type { TagOrDigest } from '../oci/name.ts';
import { turn } from '../runtime/turn.ts';
import { fewAtOnce } from './few-at-once.ts';
import { markOf } from './graph.ts';
import { heldAlone } from './held-alone.ts';
import type { PurgeReport } from './purge-report.ts';
import type { FoundLink, FoundRepository } from './read-repository.ts';
import type { RetentionParts } from './retention-parts.ts';
import type { StoredRepository } from './stored-repositories.ts';
import { surveyRepository } from './survey.ts';

/** One purge. */
export interface PurgeRun {
  report: PurgeReport;
  /** What lost a link, whose bytes go unless something else has one; whether it was a manifest. */
  unlinked: Map<Digest, boolean>;
  /** When it began, in ms since the epoch. */
  at: number;
  signal: AbortSignal;
  progress(): void;
}

interface Going {
  tags: { key: string; tag: string }[];
  links: FoundLink[];
  /** Keys of lists of referrers. */
  referrers: string[];
}

/**
 * Removes the records of a repository, or of what a tag or digest stands for in it, whoever uses them. What they stand for is asked
 * for anew by whoever wants it next.
 *
 * @returns whether all of the repository was meant
 * @throws what the stores throw; the signal's reason
 */
export async function purgeRecords(
  parts: RetentionParts,
  run: PurgeRun,
  { stored, reference }: { stored: StoredRepository; reference: TagOrDigest | undefined },
): Promise<void> {
  const { report, signal, at } = run;
  const survey = await surveyRepository(parts, stored, { since: 0, isOld: () => false, signal });
  const going = reference ? goingOf(survey.found, reference) : allOf(survey.found);
  const { upstream, scope } = stored;
  const place = { upstream, scope, repository: stored.repository ?? stored.path.split('/')[2] ?? '' };
  const counted = { tags: 0, manifests: 0, blobs: 0 };
  report.repositories++;

  async function remove(kind: 'tags' | 'links' | 'referrers', key: string): Promise<boolean> {
    for (let tries = 0; tries < mostTries; tries++) {
      signal.throwIfAborted();
      const entry = await versionOf(parts, key, signal);
      if (entry === undefined) return true;
      if (entry === 'unreadable') break;
      if (await parts[kind].remove(key, entry, signal)) return true;
      // A pull that is under way has just written it.
      await turn();
    }
    report.left++;
    return false;
  }

  const done = () => {
    run.progress();
    return true;
  };
  await fewAtOnce(going.tags, async ({ key, tag }) => {
    if (!(await remove('tags', key))) return done();
    await parts.usage.forget({ place, kind: 'tag', tagOrDigest: tag }, { unlessUsedAfter: at, signal });
    counted.tags++;
    report.tags++;
    return done();
  });
  await fewAtOnce(going.links, async ({ key, kind, digest }) => {
    parts.unlinked.add(digest);
    if (!(await remove('links', key))) return done();
    await parts.usage.forget({ place, kind, tagOrDigest: digest }, { unlessUsedAfter: at, signal });
    run.unlinked.set(digest, kind === 'manifest' || run.unlinked.get(digest) === true);
    counted[`${kind}s`]++;
    report[`${kind}s`]++;
    return done();
  });
  await fewAtOnce(going.referrers, async (key) => remove('referrers', key).then(done));
  if (!reference) await removeNotes(parts, stored, signal);
  if (counted.tags + counted.manifests + counted.blobs === 0) return;
  parts.observe({ type: 'repository-swept', upstream, repository: survey.name, reason: 'purged', ...counted });
}

const mostTries = 20;

function allOf({ graph, tagKeys, links, referrers }: FoundRepository): Going {
  return {
    tags: graph.tags.map(({ tag }, index) => ({ key: tagKeys[index] as string, tag })),
    links,
    referrers: referrers.map(({ key }) => key),
  };
}

function goingOf({ graph, tagKeys, links, referrers }: FoundRepository, reference: TagOrDigest): Going {
  const content = reference.kind === 'digest' ? graph.find(markOf(reference.digest)) : undefined;
  const standsForIt = ({ tag, holds }: (typeof graph.tags)[number]) =>
    reference.kind === 'tag' ? tag === reference.tag : content !== undefined && holds[0] === content;
  const tags = [...graph.tags.keys()].filter((index) => standsForIt(graph.tags[index] as (typeof graph.tags)[number]));
  if (tags.length === 0 && content === undefined) return { tags: [], links: [], referrers: [] };
  const going = heldAlone(graph, { tags: new Set(tags), content });
  return {
    tags: tags.map((index) => ({ key: tagKeys[index] as string, tag: graph.tags[index]?.tag as string })),
    links: links.filter(({ number }) => going.has(number)),
    referrers: referrers.flatMap(({ key, subject }) => (subject !== undefined && going.has(subject) ? [key] : [])),
  };
}

async function versionOf(
  { metadata }: RetentionParts,
  key: string,
  signal: AbortSignal,
): Promise<string | 'unreadable' | undefined> {
  try {
    return (await metadata.get(key, { signal }))?.version;
  } catch (error) {
    // It says nothing to anybody: a scrub removes it.
    if (isDamaged(error) || isOtherFormat(error)) return 'unreadable';
    throw error;
  }
}

/** What else is noted of a repository: uses of what there are no records of, and what named what. */
async function removeNotes(
  { metadata }: RetentionParts,
  { path }: StoredRepository,
  signal: AbortSignal,
): Promise<void> {
  for (const kind of ['use', 'parents']) {
    for await (const key of listAll(metadata, `${kind}/${path}`, signal)) await metadata.delete(key, { signal });
  }
}
