import { manualClock } from '@proxycache/test-kit';
import { expect, it } from 'vitest';
import { createTokens, type TokenRequest } from './token.ts';

const realm = new URL('https://auth.example/token');
const wait = { deadlineAt: Number.POSITIVE_INFINITY, signal: new AbortController().signal };
const of = (owner: string): TokenRequest => ({
  realm,
  service: 'registry',
  scope: 'repository:team/app:pull',
  held: { credential: { username: 'u', password: 'p' }, generation: 0 },
  owner,
});

it('tokens that nothing was given for push out none of the others', async () => {
  let asked = 0;
  const tokens = createTokens(
    async () => {
      asked++;
      return { kind: 'token', token: `token ${asked}`, lifetime: 300_000 };
    },
    { clock: manualClock(), key: 'up' },
  );
  await tokens.get(of('good'), wait);
  tokens.worked(of('good'));
  for (let i = 0; i < 3_000; i++) await tokens.get(of(`guess ${i}`), wait);
  expect(await tokens.get(of('good'), wait)).toMatchObject({ token: 'token 1', cached: true });
  expect(tokens.has(of('good'))).toBe(true);
  expect(tokens.has(of('guess 0'))).toBe(false);
  expect(tokens.has(of('guess 2999'))).toBe(true);
  tokens.drop(of('good'), 'token 1');
  expect(tokens.has(of('good'))).toBe(false);
});
