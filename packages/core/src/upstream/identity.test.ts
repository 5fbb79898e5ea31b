import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { manualClock } from '@proxycache/test-kit';
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
  const folder = mkdtempSync(join(tmpdir(), 'proxycache-identity-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const auth = { usernameFile: join(folder, 'username'), passwordFile: join(folder, 'password') };
  const write = (username: string, password: string) => {
    writeFileSync(auth.usernameFile, `${username}\n`);
    writeFileSync(auth.passwordFile, password);
  };
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
