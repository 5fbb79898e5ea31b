import { ProxyCacheError } from '../runtime/errors.ts';
import type { UpstreamError } from '../upstream/upstream-error.ts';
import type { AskMember, GroupQuestion, MemberAnswer } from './ask-member.ts';
import type { GroupRepository, Members } from './members.ts';

/** Who has what was asked for. */
export interface Finding {
  /** The member's key. */
  upstream: string;
  /** Whether every member before it said no: none that failed was passed over. */
  isSure: boolean;
}

/** A member's own rules say that nothing of the repository is served of it. */
interface Excluded {
  kind: 'excluded';
  reason: string;
}

/**
 * Looks for the first member that has something.
 *
 * @param how.first who is asked before all others: only where it does not matter whose the bytes are
 */
export type Search = (
  asked: GroupRepository,
  question: GroupQuestion,
  how: { first: string | undefined; signal: AbortSignal },
) => Promise<Finding>;

/**
 * Only a member's own "no" leads to the next one. One that fails or denies may have it: what the next ones have under that
 * name may be an impostor's.
 */
export function createSearch({ members, ask }: { members: Members; ask: AskMember }): Search {
  return async (asked, question, { first, signal }) => {
    const { group } = asked;
    async function answerOf(upstream: string): Promise<MemberAnswer | Excluded> {
      const { target, error } = members.find(asked, upstream);
      if (!target) return { kind: 'failed', error };
      const reason = target.upstream.names?.reasonAgainst(target.place.repository);
      if (reason !== undefined) return { kind: 'excluded', reason };
      const answer = await ask(target, question, signal);
      // A member that is asked anonymously has nothing for us alone. One that knows us may deny what it has, because our
      // rights are gone, and nothing in its words tells that from "absent".
      return answer.kind === 'denied' && target.upstream.hasCredential ? { ...answer, mayMeanAbsent: false } : answer;
    }

    let failure: ProxyCacheError | UpstreamError | undefined;
    let excluded: string | undefined;
    let [isAbsent, isDenied] = [false, false];
    // What it says else counts in its turn: a failure or denial of one is not to hide what those before it have.
    const early = group.upstreams.find((upstream) => upstream === first);
    const said = early === undefined ? undefined : await answerOf(early);
    if (early !== undefined && said?.kind === 'found') return { upstream: early, isSure: false };
    for (const upstream of group.upstreams) {
      const answer = (upstream === early && said) || (await answerOf(upstream));
      switch (answer.kind) {
        case 'excluded':
          excluded ??= answer.reason;
          break;
        case 'found':
          return { upstream, isSure: failure === undefined };
        case 'owned':
          // One that was passed over may have it.
          if (failure) throw failure;
          return { upstream, isSure: true };
        case 'absent':
          isAbsent = true;
          break;
        case 'denied':
          if (!group.deniedMayMeanAbsent && !answer.mayMeanAbsent) throw denied(group.key, answer.error);
          isDenied = true;
          break;
        case 'failed':
          if (!group.skipFailed) throw answer.error;
          failure ??= answer.error;
      }
    }
    if (failure) throw failure;
    if (excluded !== undefined && !isAbsent && !isDenied) throw new ProxyCacheError('not-admitted', excluded);
    throw absent(asked, question, isDenied);
  };
}

/** Whoever pulls a public image learns why a private registry's word is the last one on it. */
function denied(group: string, cause: ProxyCacheError): ProxyCacheError {
  const message = `${cause.message}; the group ${group} asks no member behind one that denies`;
  return new ProxyCacheError('denied', message, { cause });
}

function absent({ group, repository }: GroupRepository, question: GroupQuestion, isDenied: boolean): ProxyCacheError {
  const unsure = isDenied ? ', or needs other credentials' : '';
  const where = `is at no member of the group ${group.key} (${group.upstreams.join(', ')})${unsure}`;
  switch (question.kind) {
    case 'manifest': {
      const { reference } = question;
      const subject = reference.kind === 'tag' ? `tag ${reference.tag}` : reference.digest;
      return new ProxyCacheError('manifest-unknown', `${subject} of ${repository} ${where}`);
    }
    case 'blob':
      return new ProxyCacheError('blob-unknown', `blob ${question.digest} of ${repository} ${where}`);
    default:
      return new ProxyCacheError('name-unknown', `${repository} ${where}`);
  }
}
