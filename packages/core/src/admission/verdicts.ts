import type { Place } from '../catalog/place.ts';
import type { Digest } from '../oci/digest.ts';
import type { TagOrDigest } from '../oci/name.ts';
import { isProxyCacheError } from '../runtime/errors.ts';
import type { Asker } from './asker.ts';
import type { Judge } from './judge.ts';
import { namedAt, type Parents } from './parents.ts';
import type { FoundManifest, RepositoryContent } from './question.ts';
import { refusedBy, withoutParent } from './refused-by.ts';

/** Somebody who asks for content of a repository. */
export interface Asking {
  place: Place;
  asker: Asker | undefined;
  content: RepositoryContent;
  signal: AbortSignal;
}

/** Whether content may pass. `until`: how long that holds, in ms since the epoch; 0 where it is for this request alone. */
export type Verdict = { isAdmitted: true; until: number } | { isAdmitted: false; error: unknown };

/** A manifest that somebody asks for, itself or by what it names. */
export interface AskedContent {
  digest: Digest;
  reference: TagOrDigest;
  /** Where it is at hand. */
  found?: FoundManifest;
}

/** Decisions on content with those on what names it. */
export interface Verdicts {
  /** On a manifest: its own, and where it is known as a child, that one of its parents is admitted, too. */
  on(asking: Asking, asked: AskedContent): Promise<Verdict>;
  /**
   * On what one of the manifests that name it lets pass; `undefined`: none of them is known. A manifest is judged as one,
   * whatever it is asked for as: registries give its bytes as a blob's, too.
   */
  blob(asking: Asking, digest: Digest): Promise<Verdict | undefined>;
}

/** What has been looked at for one request. */
interface Walk {
  /** Those that are being looked at: a manifest adds nothing to itself. */
  path: Set<Digest>;
  /** On those that were. */
  verdicts: Map<Digest, Verdict>;
  /** How many more may be judged that no decision is kept on. */
  left: number;
}

/** A layer may be named by dozens of manifests: so many are judged for the sake of it, the newest first. */
const mostJudged = 16;

type Above = { verdict: Verdict; parent?: Digest };

export function createVerdicts({ judge, parents, now }: { judge: Judge; parents: Parents; now(): number }): Verdicts {
  const newWalk = (): Walk => ({ path: new Set(), verdicts: new Map(), left: mostJudged });

  async function verdictOn(asking: Asking, asked: AskedContent, walk: Walk): Promise<Verdict> {
    const { place, asker, content, signal } = asking;
    const { digest, reference } = asked;
    const record = await parents.of(place, digest, signal);
    const needsAbove = reference.kind === 'digest' && record && !record.tagged && record.manifests.length > 0;
    const above = needsAbove ? await firstAdmitted(asking, record.manifests, walk) : undefined;
    if (above && !above.verdict.isAdmitted) return above.verdict;
    const admitted = above?.parent === undefined ? [] : [above.parent];
    const question = { place, digest, reference, asker, parents: admitted };
    let judgement = judge.known(question);
    if (!judgement) {
      walk.left--;
      const found = asked.found ?? (await content.manifest(reference, signal));
      const named = namedAt(record, now());
      judgement = await judge.judge({ ...question, found, namedAt: named, content }, signal);
    }
    if (judgement.kind !== 'allow') return { isAdmitted: false, error: refusedBy(judgement, now()) };
    const own = judge.known(question)?.until ?? 0;
    return { isAdmitted: true, until: above?.verdict.isAdmitted ? Math.min(own, above.verdict.until) : own };
  }

  async function firstAdmitted(asking: Asking, candidates: readonly Digest[], walk: Walk): Promise<Above> {
    let refusal: unknown;
    let failure: unknown;
    const isKnown = (digest: Digest) => judge.known(questionOf(asking, digest)) !== undefined;
    for (const parent of [...candidates.filter(isKnown), ...candidates.filter((one) => !isKnown(one))]) {
      if (walk.path.has(parent) || (walk.left <= 0 && !isKnown(parent))) continue;
      try {
        const verdict = await verdictOnParent(asking, parent, walk);
        if (verdict.isAdmitted) return { verdict, parent };
        refusal ??= verdict.error;
      } catch (error) {
        asking.signal.throwIfAborted();
        if (!isGone(error)) failure ??= error;
      }
    }
    // One that could not be judged might have let it pass.
    return { verdict: { isAdmitted: false, error: failure ?? refusal ?? withoutParent(asking.place) } };
  }

  async function verdictOnParent(asking: Asking, digest: Digest, walk: Walk): Promise<Verdict> {
    const known = walk.verdicts.get(digest);
    if (known) return known;
    walk.path.add(digest);
    try {
      const verdict = await verdictOn(asking, { digest, reference: { kind: 'digest', digest } }, walk);
      walk.verdicts.set(digest, verdict);
      return verdict;
    } finally {
      walk.path.delete(digest);
    }
  }

  function on(asking: Asking, asked: AskedContent): Promise<Verdict> {
    const walk = newWalk();
    walk.path.add(asked.digest);
    return verdictOn(asking, asked, walk);
  }

  return {
    on,
    async blob(asking, digest) {
      const record = await parents.of(asking.place, digest, asking.signal);
      if (record?.isManifest) return on(asking, { digest, reference: { kind: 'digest', digest } });
      if (!record || record.manifests.length === 0) return undefined;
      return (await firstAdmitted(asking, record.manifests, newWalk())).verdict;
    },
  };
}

function questionOf({ place, asker }: Asking, digest: Digest): Parameters<Judge['known']>[0] {
  return { place, asker, digest, reference: { kind: 'digest', digest }, parents: [] };
}

/** Whether a manifest is neither here nor at its upstream any more. */
function isGone(error: unknown): boolean {
  return isProxyCacheError(error) && ['manifest-unknown', 'name-unknown', 'denied'].includes(error.code);
}
