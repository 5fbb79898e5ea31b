import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CacheStatus } from '../pull/answer.ts';
import { cacheStatusHeader, matchesEtag, warningHeader } from './answer-headers.ts';

const etag = '"sha256:aa"';

describe('matchesEtag', () => {
  it.each([etag, `W/${etag}`, '*', ' * ', `"x", ${etag}`, `"x","y",W/${etag} , "z"`, `"with, comma", ${etag}`])(
    '%s names it',
    (header) => {
      expect(matchesEtag(header, etag)).toBe(true);
    },
  );

  it.each([null, '', 'sha256:aa', '"sha256:ab"', '"sha256:a"', '"*"', '"sha256:aa', `"x" ${etag.slice(0, -1)}`, '"'])(
    '%s does not',
    (header) => {
      expect(matchesEtag(header, etag)).toBe(false);
    },
  );
});

describe('cacheStatusHeader', () => {
  it.each<[CacheStatus, string]>([
    [{ hit: true }, 'proxycache; hit'],
    [{ hit: true, detail: 'stale' }, 'proxycache; hit; detail=stale'],
    [{ hit: false, fwd: 'miss', fwdStatus: 200, stored: true }, 'proxycache; fwd=miss; fwd-status=200; stored'],
    [{ hit: false, fwd: 'uri-miss', collapsed: true }, 'proxycache; fwd=uri-miss; collapsed'],
    [
      { hit: false, fwd: 'stale', fwdStatus: 304, stored: false, collapsed: false },
      'proxycache; fwd=stale; fwd-status=304',
    ],
    [{ hit: false, fwd: 'partial', detail: 'unverified' }, 'proxycache; fwd=partial; detail=unverified'],
    [{ hit: false, detail: 'says "no" \\ é\r\n' }, 'proxycache; detail="says \\"no\\" \\\\ ???"'],
    [{ hit: true, fwd: 'miss', fwdStatus: 200 }, 'proxycache; hit'],
    [{ hit: false }, 'proxycache'],
  ])('writes %j', (status, header) => {
    expect(cacheStatusHeader(status)).toBe(header);
  });
});

describe('warningHeader', () => {
  it('has the form of the OCI distribution-spec', () => {
    expect(warningHeader('partial list: upstream unavailable')).toBe('299 - "partial list: upstream unavailable"');
  });

  it('is printable ASCII of at most 4096 bytes, whatever the text', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 60 }),
      fc.tuple(fc.constantFrom('"', '\\', 'x', 'é', '\r\n'), fc.nat({ max: 9000 })).map(([c, n]) => c.repeat(n)),
    );
    fc.assert(
      fc.property(text, (t) => {
        const header = warningHeader(t);
        expect(header.length).toBeLessThanOrEqual(4096);
        expect(header).toMatch(/^299 - "(?:[ !#-[\]-~]|\\["\\])*"$/);
      }),
    );
  });

  it('keeps as much of a long text as fits', () => {
    expect(warningHeader('x'.repeat(5000))).toBe(`299 - "${'x'.repeat(4088)}"`);
  });
});
