import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { redact, redactError } from './redact.ts';

describe('redact', () => {
  it.each([
    ['the query of a URL', 'GET https://cdn.example/blob?X-Amz-Signature=s3cr3t&Expires=1 failed', 's3cr3t'],
    ['the fragment of a URL', 'see https://cdn.example/#s3cr3t', 's3cr3t'],
    ['the user of a URL', 'from https://ann:s3cr3t@registry.example/v2/', 's3cr3t'],
    ['a bearer token', 'Authorization: Bearer s3cr3t.abc-def_ghi was refused', 's3cr3t'],
    ['a Basic credential', 'sent basic czNjcjN0 to it', 'czNjcjN0'],
    ['a token in JSON', '{"token":"s3cr3t","expires_in":60}', 's3cr3t'],
    ['an access token in JSON', '{"access_token": "s3cr3t"}', 's3cr3t'],
    ['a password in a form', 'grant_type=password&password=s3cr3t&x=y', 's3cr3t'],
    ['a signature in a form', 'Signature=s3cr3t', 's3cr3t'],
    ['an API key', 'api-key: s3cr3t', 's3cr3t'],
  ])('takes out %s', (_what, text, secret) => {
    expect(redact(text)).not.toContain(secret);
  });

  it('leaves what names no secret as it is', () => {
    const text = 'docker-hub answered 404 for library/alpine:3 (https://registry.example/v2/library/alpine)';
    expect(redact(text)).toBe(text);
  });

  it('puts everything on one line of at most 500 characters', () => {
    expect(redact('a\r\nWarning: x\u0000\u2028b')).toBe('a Warning: x b');
    expect(redact('x'.repeat(10_000))).toHaveLength(500);
  });

  it('takes the query out of any URL in any text', () => {
    const word = fc.stringMatching(/^[a-z]{1,8}$/);
    fc.assert(
      fc.property(word, word, word, fc.string({ maxLength: 40 }), (host, path, secret, rest) => {
        const text = redact(`${rest} https://${host}.example/${path}?sig=SECRET${secret} ${rest}`);
        expect(text).not.toContain(`SECRET${secret}`);
      }),
    );
  });

  it('reads any text in time in proportion to its length', () => {
    for (const piece of ['https://', 'token=', 'bearer ', 'a://a@', '?#', ' '])
      for (const length of [1_000, 1_000_000]) {
        const started = performance.now();
        redact(piece.repeat(length / piece.length));
        expect(performance.now() - started).toBeLessThan(500);
      }
  });
});

describe('an error as a cause', () => {
  const frames = (error: Error) => (error.stack ?? '').split('\n').slice(1);

  it('keeps its name, code and place, and its message without secrets', () => {
    const error = Object.assign(new TypeError('no: https://cdn.example/x?Signature=s3cr3t'), { code: 'E_NO' });
    const shown = redactError(error);
    expect(shown).toMatchObject({ name: 'TypeError', message: 'no: https://cdn.example/x', code: 'E_NO' });
    expect(frames(shown)).toEqual(frames(error));
  });

  it('leaves behind all that hangs on it, in any depth', () => {
    const error = Object.assign(new Error('bad header\nBearer s3cr3t', { cause: new Error('s3cr3t') }), {
      data: 's3cr3t',
      request: { headers: { authorization: 's3cr3t' } },
    });
    const shown = redactError(new AggregateError([error, new Error('other')]));
    expect(inspect(shown, { depth: Number.POSITIVE_INFINITY, showHidden: true })).not.toContain('s3cr3t');
    expect(shown.message).toBe('bad header Bearer [redacted]');
  });

  it.each([undefined, null, 'down', 5])('is one of what is none, too: %j', (thrown) => {
    expect(redactError(thrown)).toMatchObject({ name: 'Error', message: String(thrown) });
  });
});
