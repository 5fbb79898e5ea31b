import { describe, expect, it } from 'vitest';
import { refused, refusedReply, refusedTag } from './refusal.ts';
import type { Target } from './target.ts';

const at = (deniedMayMeanAbsent: boolean) =>
  ({ upstream: { rules: { deniedMayMeanAbsent } }, place: { upstream: 'hub', repository: 'team/app' } }) as Target;
const plain = at(false);
const hub = at(true);
const told = (error: Error & { code?: string }) => `${error.code}: ${error.message}`;

describe('what a client is told when an upstream says', () => {
  it('that a tag is absent', () => {
    const refusal = { at: 0, code: 'MANIFEST_UNKNOWN', message: 'see https://hub/?token=x' };
    expect(told(refusedTag(plain, '1', { kind: 'absent', refusal }))).toBe(
      'manifest-unknown: tag 1 of team/app is not at hub',
    );
  });

  it('that the whole repository is', () => {
    const refusal = { at: 0, code: 'NAME_UNKNOWN', message: '' };
    expect(told(refusedTag(plain, '1', { kind: 'absent', refusal }))).toBe(
      'name-unknown: tag 1 of team/app is not at hub',
    );
  });

  it('that it may not have it', () => {
    const refusal = { at: 0, code: '403', message: 'no' };
    expect(told(refusedTag(plain, '1', { kind: 'denied', refusal }))).toBe(
      'denied: team/app at hub does not exist or needs other credentials',
    );
  });

  it('no, where that may mean either', () => {
    const either = 'manifest-unknown: tag 1 of team/app is not at hub, or needs other credentials';
    // As it was settled, and as a record tells it.
    expect(told(refusedTag(hub, '1', { kind: 'denied', refusal: { at: 0, code: '401', message: '' } }))).toBe(either);
    expect(told(refusedTag(hub, '1', { kind: 'absent', refusal: { at: 0, code: '401', message: '' } }))).toBe(either);
  });

  it.each(['manifest-unknown', 'blob-unknown', 'name-unknown'] as const)('no to a request by digest: %s', (of) => {
    const what = { of, subject: 'it' };
    expect(refusedReply(plain, { kind: 'absent', code: '', message: '' }, what).code).toBe(of);
    expect(refusedReply(plain, { kind: 'absent', code: 'NAME_UNKNOWN', message: '' }, what).code).toBe('name-unknown');
    expect(refusedReply(plain, { kind: 'not-modified' }, what).code).toBe(of);
    expect(refusedReply(plain, { kind: 'denied', status: 403, message: '' }, what).code).toBe('denied');
    expect(refusedReply(hub, { kind: 'denied', status: 401, message: '' }, what).code).toBe(of);
  });

  it('in its own words is told in ours', () => {
    const words = 'denied for ann, see https://auth.example/?token=s3cr3t';
    const errors = [
      refusedReply(plain, { kind: 'denied', status: 403, message: words }, { of: 'blob-unknown', subject: 'blob' }),
      refusedReply(hub, { kind: 'absent', code: words, message: words }, { of: 'blob-unknown', subject: 'blob' }),
      refused(plain, { kind: 'absent', code: words, of: 'name-unknown', subject: 'the list' }),
    ];
    for (const error of errors) expect(error.message).not.toContain('ann');
  });
});
