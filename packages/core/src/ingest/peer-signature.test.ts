import { describe, expect, it } from 'vitest';
import type { Digest } from '../oci/digest.ts';
import {
  checkPeerSignature,
  isPeerPath,
  partsOfPeerPath,
  peerPath,
  peerSkewMs,
  signPeerRequest,
} from './peer-signature.ts';

const secret = 'x'.repeat(32);
const digest: Digest = `sha256:${'a'.repeat(64)}`;
const request = { peer: 'http://10.0.0.7:5000', method: 'GET', path: peerPath('up', digest), range: 'bytes=5-' };
const now = 1_700_000_000_000;
const check = (changes: Partial<typeof request & { authorization: string | null }> = {}, at = now, by = secret) =>
  checkPeerSignature({ ...request, authorization: signPeerRequest(request, secret, now), ...changes }, by, at);

describe('a signature', () => {
  it('is right for its request and for a minute, either way', () => {
    expect(check()).toBe('right');
    expect(check({}, now + peerSkewMs)).toBe('right');
    expect(check({}, now - peerSkewMs)).toBe('right');
    expect(check({}, now + peerSkewMs + 1)).toBe('late');
    expect(check({}, now - peerSkewMs - 1)).toBe('late');
  });

  it.each([
    ['peer', { peer: 'http://10.0.0.8:5000' }],
    ['method', { method: 'PUT' }],
    ['path', { path: peerPath('up2', digest) }],
    ['range', { range: 'bytes=6-' }],
    ['lack of a range', { range: '' }],
  ])('is wrong for another %s', (_what, changes) => {
    expect(check(changes)).toBe('wrong');
  });

  it('is wrong by another secret, and with another date than it was made for', () => {
    expect(check({}, now, 'y'.repeat(32))).toBe('wrong');
    expect(check({ authorization: signPeerRequest(request, secret, now).replace(String(now), String(now + 1)) })).toBe(
      'wrong',
    );
  });

  it.each([
    null,
    '',
    'Bearer x',
    'Proxycache-HMAC-SHA256',
    'Proxycache-HMAC-SHA256 1 2',
    `Proxycache-HMAC-SHA256 x ${'0'.repeat(64)}`,
  ])('is wrong where there is none: %j', (authorization) => {
    expect(check({ authorization })).toBe('wrong');
  });

  it('does not hold the secret', () => {
    expect(signPeerRequest(request, secret, now)).not.toContain(secret);
  });
});

describe('the path of a transfer', () => {
  it('gives its upstream and digest back', () => {
    expect(isPeerPath(request.path)).toBe(true);
    expect(partsOfPeerPath(request.path)).toEqual({ upstream: 'up', digest });
    expect(partsOfPeerPath(peerPath('quay.io', digest))).toEqual({ upstream: 'quay.io', digest });
  });

  it.each([
    '/v2/_proxycache/ingests/',
    '/v2/_proxycache/ingests/up',
    '/v2/_proxycache/ingests/../x/y',
    '/v2/_proxycache/ingests/up/a/b',
  ])('is none: %s', (path) => {
    expect(partsOfPeerPath(path)).toBeUndefined();
  });
});
