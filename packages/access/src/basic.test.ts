import type { AccessRequest } from '@proxycache/core';
import { describe, expect, test } from 'vitest';
import { basic } from './basic.ts';

const encoded = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;

/** A request that brings this header; `signals` counts how often its signal was looked at. */
function request(authorization: string | null): AccessRequest & { signals(): number } {
  const { signal } = new AbortController();
  let signals = 0;
  return {
    method: 'GET',
    url: '/v2/',
    basePath: '',
    headers: { get: (name) => (name === 'authorization' ? authorization : null) },
    get signal() {
      signals++;
      return signal;
    },
    signals: () => signals,
  };
}

const users = { alice: { password: 'wonderland' }, Zoë: { password: 'päßword:' } };

describe('HTTP Basic', () => {
  const { authenticate, challenge } = basic({ users });
  const ask = async (authorization: string | null) => authenticate(request(authorization));

  test('knows who has the right password, in any script', async () => {
    expect(await ask(encoded('alice:wonderland'))).toEqual({ name: 'alice' });
    expect(await ask(encoded('Zoë:päßword:'))).toEqual({ name: 'Zoë' });
  });

  test('leaves requests without credentials to others', async () => {
    expect(await ask(null)).toBeUndefined();
  });

  test('tells no wrong password from an unknown user', async () => {
    const refused = { code: 'unauthenticated', message: 'wrong user name or password' };
    await expect(ask(encoded('alice:guess'))).rejects.toMatchObject(refused);
    await expect(ask(encoded('mallory:wonderland'))).rejects.toMatchObject(refused);
  });

  test.each([
    ['Bearer abc', 'expected a user name and password (Basic)'],
    ['Basic', 'are not in base64'],
    [encoded('alice'), 'have no ":"'],
    [encoded('alice:won\0der'), 'control characters'],
    [encoded(`alice:${'x'.repeat(10_000)}`), 'longer than 8192 characters'],
  ])('refuses what it cannot read, and says why: %.20s', async (authorization, message) => {
    await expect(ask(authorization)).rejects.toMatchObject({
      code: 'unauthenticated',
      message: expect.stringContaining(message),
    });
    await expect(ask(authorization)).rejects.not.toThrow(/alice|xxx/);
  });

  test('challenges with its realm, and for UTF-8', () => {
    expect(challenge()).toBe('Basic realm="proxycache", charset="UTF-8"');
    expect(basic({ users, realm: 'The "best" \\ cache' }).challenge()).toBe(
      'Basic realm="The \\"best\\" \\\\ cache", charset="UTF-8"',
    );
    for (const realm of ['', 'Küche', 'a\r\nb', 7 as never]) {
      expect(() => basic({ users, realm })).toThrow('basic: realm: expected 1 to 256 printable ASCII characters');
    }
  });

  test('does not have a signal made for what it remembers', async () => {
    const { authenticate } = basic({ verify: ({ user }) => ({ name: user }) });
    const first = request(encoded('alice:x'));
    await authenticate(first);
    expect(first.signals()).toBeGreaterThan(0);
    const second = request(encoded('alice:x'));
    expect(await authenticate(second)).toEqual({ name: 'alice' });
    expect(second.signals()).toBe(0);
  });

  test('passes on that a verifier could not tell', async () => {
    const { authenticate } = basic({
      verify() {
        throw new Error('directory away');
      },
    });
    await expect((async () => authenticate(request(encoded('alice:x'))))()).rejects.toThrow('directory away');
  });
});
