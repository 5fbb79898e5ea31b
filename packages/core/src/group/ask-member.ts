import type { Digest } from '../oci/digest.ts';
import type { TagOrDigest } from '../oci/name.ts';
import type { ListTags } from '../pull/list-tags.ts';
import type { Pulls } from '../pull/noted-pulls.ts';
import type { Target } from '../pull/target.ts';
import { isProxyCacheError, type ProxyCacheError } from '../runtime/errors.ts';
import { isUpstreamError, type UpstreamError } from '../upstream/upstream-error.ts';

/** What is asked of a repository, of which the owner is looked for. */
export type GroupQuestion =
  | { kind: 'manifest'; reference: TagOrDigest }
  | { kind: 'blob'; digest: Digest }
  | { kind: 'tags' }
  | { kind: 'referrers'; digest: Digest };

/** What a member makes of it, by the rules that its pulls have. */
export type MemberAnswer =
  | { kind: 'found' }
  /** It has the repository, and of it not what was asked for, or does not serve that. */
  | { kind: 'owned' }
  | { kind: 'absent' }
  /** `mayMeanAbsent`: by the rules of its own pulls it is read as "absent". */
  | { kind: 'denied'; error: ProxyCacheError; mayMeanAbsent: boolean }
  | { kind: 'failed'; error: ProxyCacheError | UpstreamError };

/** Asks a member whether it has something. @throws the signal's reason */
export type AskMember = (target: Target, question: GroupQuestion, signal: AbortSignal) => Promise<MemberAnswer>;

/** @param parts the pulls and lists of the host itself: what they find is for nobody yet, and tells of what is excluded too */
export function createAskMember(parts: {
  pulls: Pick<Pulls, 'pullTag' | 'pullDigest' | 'pullBlob'>;
  listTags: ListTags;
}): AskMember {
  const { pulls, listTags } = parts;
  const want = 'descriptor';

  /**
   * Whether a list of tags says that a repository is there. An empty one does not: some registries, as Distribution 2.1.1 on
   * S3 (distribution/distribution#1186), give it of whatever they do not have.
   */
  async function listed(target: Target, signal: AbortSignal): Promise<MemberAnswer | { kind: 'empty' }> {
    let isEmpty = false;
    const answer = await answerOf(async () => {
      const { tags, next } = await listTags({ target, page: { n: 1 }, signal });
      isEmpty = tags.length === 0 && next === undefined;
    }, signal);
    return isEmpty ? { kind: 'empty' } : answer;
  }

  /** A tag that is missing says nothing of its repository, which a list of tags does. */
  async function tag(target: Target, name: string, signal: AbortSignal): Promise<MemberAnswer> {
    const { upstream, place } = target;
    const repository = async (ofTag: MemberAnswer): Promise<MemberAnswer> => {
      const list = await listed(target, signal);
      if (list.kind === 'found') return { kind: 'owned' };
      // A denial of the tag stays one: whoever may see nothing may be shown an empty list.
      return list.kind === 'empty' ? ofTag : list;
    };
    // What its names rule out it may have all the same, and no other member has in its place.
    if (upstream.names?.reasonAgainst(place.repository, name) !== undefined) return repository({ kind: 'absent' });
    let isRepositoryUnknown = false;
    const answer = await answerOf(async () => {
      try {
        await pulls.pullTag.pull({ target, tag: name, want, signal });
      } catch (error) {
        isRepositoryUnknown = isProxyCacheError(error) && error.code === 'name-unknown';
        throw error;
      }
    }, signal);
    const mayBeThere = answer.kind === 'absent' || (answer.kind === 'denied' && answer.mayMeanAbsent);
    return mayBeThere && !isRepositoryUnknown ? repository(answer) : answer;
  }

  return async (target, question, signal) => {
    switch (question.kind) {
      case 'tags': {
        const list = await listed(target, signal);
        return list.kind === 'empty' ? { kind: 'absent' } : list;
      }
      case 'blob':
        return answerOf(async () => {
          const blob = await pulls.pullBlob({ target, digest: question.digest, want, signal });
          await blob.close();
        }, signal);
      // An empty list of referrers is what most registries say of whatever they do not have: its subject tells more.
      case 'referrers':
        return answerOf(() => pulls.pullDigest({ target, digest: question.digest, want, signal }), signal);
      case 'manifest': {
        const { reference } = question;
        if (reference.kind === 'tag') return tag(target, reference.tag, signal);
        return answerOf(() => pulls.pullDigest({ target, digest: reference.digest, want, signal }), signal);
      }
    }
  };
}

async function answerOf(ask: () => Promise<unknown>, signal: AbortSignal): Promise<MemberAnswer> {
  try {
    await ask();
    return { kind: 'found' };
  } catch (error) {
    signal.throwIfAborted();
    if (isUpstreamError(error)) return { kind: 'failed', error };
    if (!isProxyCacheError(error)) throw error;
    switch (error.code) {
      case 'name-unknown':
      case 'manifest-unknown':
      case 'blob-unknown':
        return isDenial(error.cause) ? { kind: 'denied', error: error.cause, mayMeanAbsent: true } : { kind: 'absent' };
      case 'denied':
        return { kind: 'denied', error, mayMeanAbsent: false };
      // It is there, if only in a form that nobody here can use.
      case 'manifest-unsupported':
        return { kind: 'found' };
      default:
        return { kind: 'failed', error };
    }
  }
}

const isDenial = (cause: unknown): cause is ProxyCacheError => isProxyCacheError(cause) && cause.code === 'denied';
