import { ProxyCacheError } from '@proxycache/core';
import { manualClock } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { rememberTokens } from './token-memory.ts';

/** What is known of tokens that live for as long as they say, in s, but for those that are wrong. */
function start() {
  const clock = manualClock();
  const verified: string[] = [];
  const startedAt = clock.now() / 1000;
  const verify = rememberTokens(
    async (token) => {
      verified.push(token);
      const [sub = '', lifetime] = token.split(':');
      if (lifetime === undefined || clock.now() / 1000 >= startedAt + Number(lifetime)) {
        throw new ProxyCacheError('unauthenticated', 'the token is wrong');
      }
      return { sub, nbf: startedAt, exp: startedAt + Number(lifetime) };
    },
    { clock, leewayMs: 0 },
  );
  return { clock, verified, verify };
}

describe('a token that was right', () => {
  test('is not verified again for a minute', async () => {
    const { verify, verified, clock } = start();
    expect(await verify('ann:300')).toMatchObject({ sub: 'ann' });
    await clock.advance(59_999);
    expect(await verify('ann:300')).toMatchObject({ sub: 'ann' });
    expect(verified).toEqual(['ann:300']);
    await clock.advance(1);
    await verify('ann:300');
    expect(verified).toHaveLength(2);
  });

  test('is none any more at its end, nor before its time', async () => {
    const { verify, clock } = start();
    await verify('ann:30');
    await clock.advance(29_000);
    expect(await verify('ann:30')).toMatchObject({ sub: 'ann' });
    await clock.advance(1000);
    await expect(verify('ann:30')).rejects.toThrow('the token is wrong');
    const { verify: again, verified, clock: stepped } = start();
    await again('ann:30');
    stepped.set(stepped.now() - 1000);
    await again('ann:30');
    expect(verified).toHaveLength(2);
  });

  test('says nothing of others that look alike', async () => {
    const { verify, verified } = start();
    await verify('ann:300');
    await expect(verify('ann')).rejects.toThrow('wrong');
    expect(await verify('bob:300')).toMatchObject({ sub: 'bob' });
    expect(verified).toEqual(['ann:300', 'ann', 'bob:300']);
  });
});

test('a token that was wrong is verified each time', async () => {
  const { verify, verified } = start();
  for (let i = 0; i < 3; i++) await expect(verify('mallory')).rejects.toThrow('wrong');
  expect(verified).toHaveLength(3);
});

test('the longest unused goes where there are more than a thousand', async () => {
  const { verify, verified } = start();
  for (let i = 0; i <= 1000; i++) await verify(`${i}:300`);
  verified.length = 0;
  await verify('1000:300');
  await verify('0:300');
  expect(verified).toEqual(['0:300']);
});
