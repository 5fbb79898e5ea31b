import { rmSync, writeFileSync } from 'node:fs';
import { credentialFiles, manualClock } from '@proxycache/test-kit';
import { describe, expect, onTestFinished, test } from 'vitest';
import { upstreamSettings } from '../options.ts';
import type { UpstreamAuth } from './credentials.ts';
import { generationOf } from './generation.ts';
import { createIdentity } from './identity.ts';

const url = 'https://registry.example';
const settingsOf = (auth: UpstreamAuth) => upstreamSettings({ key: 'hub', url, auth });
const ofUser = (username: string) => generationOf(settingsOf({ username, password: 'x' }));
const { signal } = new AbortController();

function startWithFiles() {
  const { auth, write, remove } = credentialFiles();
  onTestFinished(remove);
  write('ann', 'x');
  const clock = manualClock();
  return { auth, clock, write, identity: createIdentity(settingsOf(auth), { clock }) };
}

describe('whom an upstream is asked as', () => {
  test('is the user of its files before anything was asked, and another one after a second', async () => {
    const { clock, write, identity } = startWithFiles();
    expect(identity.generation()).toBe(ofUser('ann'));
    write('bob', 'y');
    expect(identity.generation()).toBe(ofUser('ann'));
    await clock.advance(1000);
    await expect.poll(identity.generation).toBe(ofUser('bob'));
  });

  test('changes with the credential that is asked with, neither before nor after it', async () => {
    const { auth, clock, write, identity } = startWithFiles();
    await identity.source?.get({ signal });
    write('bob', 'y');
    rmSync(auth.passwordFile);
    await clock.advance(1000);
    identity.generation();
    expect(await identity.source?.get({ signal })).toMatchObject({ credential: { username: 'ann' } });
    expect(identity.generation()).toBe(ofUser('ann'));
    writeFileSync(auth.passwordFile, 'y');
    expect(await identity.source?.get({ signal })).toMatchObject({ credential: { username: 'bob' } });
    expect(identity.generation()).toBe(ofUser('bob'));
  });

  test('has a term of its own each time, also where the one before comes back', async () => {
    const { write, identity } = startWithFiles();
    const terms = [identity.term()];
    for (const [username, password] of [
      ['ann', 'other'],
      ['bob', 'y'],
      ['ann', 'x'],
    ] as const) {
      write(username, password);
      await identity.source?.get({ signal });
      terms.push(identity.term());
    }
    expect(terms.map((term) => [term?.number, term?.isOver])).toEqual([
      [1, true],
      [1, true],
      [2, true],
      [3, false],
    ]);
  });

  test.each<[string, UpstreamAuth]>([
    ['a provider', async () => ({ username: 'made-for-each-token', password: 'x' })],
    ['a reference', { reference: 'corp' }],
    ['a helper', { helper: 'gcloud' }],
    ['a program', { exec: ['get-token'] }],
  ])('stays that of %s, whatever it gives', async (_, auth) => {
    const clock = manualClock();
    const identity = createIdentity(settingsOf(auth), { clock });
    await clock.advance(60_000);
    expect(identity.generation()).toBe(generationOf(settingsOf(auth)));
    expect(identity.source).toBeUndefined();
  });
});
