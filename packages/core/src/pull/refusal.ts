import type { Refusal } from '../freshness/record.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { Reply } from '../upstream/upstream.ts';
import type { Target } from './target.ts';

/**
 * The failure a client sees when an upstream said no, in our words: never the upstream's challenge, URL or page. A denial
 * that the rules read as "absent" has the denial for its cause.
 */
export function refused(
  target: Target,
  what: {
    kind: 'absent' | 'denied';
    code: string;
    of: 'manifest-unknown' | 'blob-unknown' | 'name-unknown';
    subject: string;
  },
): ProxyCacheError {
  const { upstream, repository } = target.place;
  // A denial that the rules read as "absent" has its status for a code.
  const isDenial = what.kind === 'denied' || /^\d+$/.test(what.code);
  const denial = isDenial
    ? new ProxyCacheError('denied', `${repository} at ${upstream} does not exist or needs other credentials`)
    : undefined;
  if (denial && what.kind === 'denied' && !target.upstream.rules.deniedMayMeanAbsent) return denial;
  const code = what.code === 'NAME_UNKNOWN' ? 'name-unknown' : what.of;
  const unsure = denial ? ', or needs other credentials' : '';
  return new ProxyCacheError(code, `${what.subject} of ${repository} is not at ${upstream}${unsure}`, {
    cause: denial,
  });
}

/** {@link refused} for a remembered or settled refusal of a tag. */
export function refusedTag(
  target: Target,
  tag: string,
  verdict: { kind: 'absent' | 'denied'; refusal: Refusal },
): ProxyCacheError {
  return refused(target, {
    kind: verdict.kind,
    code: verdict.refusal.code,
    of: 'manifest-unknown',
    subject: `tag ${tag}`,
  });
}

/** {@link refused} for a reply to a request by digest. A "not modified" to what was asked without a condition is a no. */
export function refusedReply(
  target: Target,
  reply: Exclude<Reply<unknown>, { kind: 'found' }>,
  what: { of: 'manifest-unknown' | 'blob-unknown' | 'name-unknown'; subject: string },
): ProxyCacheError {
  const kind = reply.kind === 'denied' ? 'denied' : 'absent';
  return refused(target, { kind, code: reply.kind === 'absent' ? reply.code : '', ...what });
}
