import { inspect } from 'node:util';
import { expect, it } from 'vitest';
import { createCallerOf } from './caller.ts';

const secret = 'a secret of thirty-two bytes or more';
const alice = { username: 'alice', password: 'secret' };

it('another upstream, user, password or secret is another caller, and the same ones are the same', () => {
  const callerOf = createCallerOf('up', secret);
  const scopes = [
    callerOf(alice),
    createCallerOf('other', secret)(alice),
    createCallerOf('up', `${secret}!`)(alice),
    callerOf({ ...alice, username: 'bob' }),
    callerOf({ ...alice, password: 'Secret' }),
    callerOf({ username: 'alicesecret', password: '' }),
    callerOf({ username: 'alice","secret', password: '' }),
  ].map(({ scope }) => scope);
  expect(new Set(scopes).size).toBe(scopes.length);
  expect(createCallerOf('up', secret)({ ...alice }).scope).toBe(scopes[0]);
  // One segment of a key, and never that of an upstream's own credential.
  for (const scope of scopes) expect(scope).toMatch(/^[A-Za-z0-9_-]{43}$/);
});

it('nothing that prints, encodes or copies a caller finds the password', () => {
  const caller = createCallerOf('up', secret)(alice);
  const shown = [
    inspect(caller, { depth: 9, showHidden: true }),
    JSON.stringify(caller),
    JSON.stringify({ ...caller }),
  ];
  expect(shown.join()).not.toContain(alice.password);
  expect(caller.reveal()).toEqual(alice);
});
