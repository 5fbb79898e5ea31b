import { describe, expect, it } from 'vitest';
import { withoutCredentials } from './without-credentials.ts';

const request = (authorization: string | null) => ({ headers: { get: () => authorization } });
const basic = (pair: string) => `Basic ${Buffer.from(pair).toString('base64')}`;

describe('what a hook says, as it may be shown', () => {
  it.each([
    ['no access to team/app', null, 'no access to team/app'],
    ['no access to team/app', basic('ann:secret'), 'no access to team/app'],
    ['ann has another password than s3cret', basic('ann:s3cret'), 'ann has another password than [redacted]'],
    ['ann:s3cret is wrong', basic('ann:s3cret'), '[redacted] is wrong'],
    [`${basic('a:b:c').slice(6)}: bad`, basic('a:b:c'), '[redacted]: bad'],
    ['a:b:c has b:c', basic('a:b:c'), '[redacted] has [redacted]'],
    ['cat', basic('ann:a'), 'c[redacted]t'],
    ['cat', basic('a'), 'c[redacted]t'],
    ['nothing', basic('ann:'), 'nothing'],
    ['nothing', 'Basic ', 'nothing'],
    ['opaque/t0ken is wrong', 'Bearer opaque/t0ken', '[redacted] is wrong'],
    ['opaque/t0ken is wrong', '  bearer   opaque/t0ken ', '[redacted] is wrong'],
    ['without-scheme is wrong', 'without-scheme', '[redacted] is wrong'],
    ['of\ntwo lines', null, 'of two lines'],
    ['at https://ann:pw@directory.example/?key=1', null, 'at https://directory.example/'],
  ])('%s, of a request with %s: %s', (text, authorization, shown) => {
    expect(withoutCredentials(text, request(authorization))).toBe(shown);
  });

  it.each(['Basic', 'Bearer', ''])('of a header of %s with a long row of blanks: it stands nothing still', (scheme) => {
    const authorization = `${scheme} x${' '.repeat(1_000_000)}y`;
    expect(withoutCredentials('no access', request(authorization))).toBe('no access');
  });
});
