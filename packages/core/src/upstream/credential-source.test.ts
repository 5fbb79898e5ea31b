import { chmod, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { type ManualClock, manualClock } from '@proxycache/test-kit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCredentialLoader } from './credential-load.ts';
import { type CredentialSource, createCredentialSource } from './credential-source.ts';
import type { UpstreamAuth } from './credentials.ts';

const signal = new AbortController().signal;
let clock: ManualClock;
let folder: string;

beforeEach(async () => {
  clock = manualClock();
  folder = await mkdtemp(join(tmpdir(), 'proxycache-credentials-'));
});
afterEach(() => rm(folder, { recursive: true }));

function sourceOf(auth: UpstreamAuth): CredentialSource {
  const loader = createCredentialLoader(auth, { key: 'hub', server: 'registry.example', clock });
  if (!loader) throw new Error('it is anonymous');
  return createCredentialSource(loader, { clock, key: 'hub' });
}

/** A program that says what it was asked, counts, and prints `output`. */
async function program(output: string, status = 0): Promise<{ path: string; runs: () => Promise<number> }> {
  const path = join(folder, 'program.mjs');
  const log = join(folder, 'runs');
  const code = `#!${process.execPath}
import { appendFileSync, readFileSync } from 'node:fs';
appendFileSync(${JSON.stringify(log)}, 'run ');
const input = readFileSync(0, 'utf8');
process.stdout.write(${JSON.stringify(output)}.replace('INPUT', input).replace('ARGS', process.argv.slice(2).join(' ')));
process.exitCode = ${status};
`;
  await writeFile(path, code);
  await chmod(path, 0o755);
  return { path, runs: async () => (await readFile(log, 'utf8').catch(() => '')).split(' ').length - 1 };
}

describe('files', () => {
  async function write(username: string, password: string): Promise<void> {
    // By a rename, as Kubernetes replaces secrets.
    for (const [name, text] of Object.entries({ username, password })) {
      await writeFile(join(folder, `${name}.new`), `${text}\n`);
      await rename(join(folder, `${name}.new`), join(folder, name));
    }
  }
  const auth = () => ({ usernameFile: join(folder, 'username'), passwordFile: join(folder, 'password') });

  it('are read again when they change, and then make another generation', async () => {
    await write('ann', 'one');
    const source = sourceOf(auth());
    const first = await source.get({ signal });
    expect(first.credential).toEqual({ username: 'ann', password: 'one' });
    expect(await source.get({ signal })).toBe(first);
    await write('ann', 'second');
    const second = await source.get({ signal });
    expect(second.credential).toEqual({ username: 'ann', password: 'second' });
    expect(second.generation).not.toBe(first.generation);
  });

  it('that are gone for a moment leave the credential as it was', async () => {
    await write('ann', 'one');
    const source = sourceOf(auth());
    const first = await source.get({ signal });
    await rm(join(folder, 'password'));
    expect(await source.get({ signal })).toBe(first);
  });

  it('that are not there fail, with the reason and the way to mend it', async () => {
    await expect(sourceOf(auth()).get({ signal })).rejects.toMatchObject({
      code: 'token-failed',
      message: 'hub: its credential could not be had (ENOENT); see auth in its options',
    });
  });
});

describe('a program', () => {
  it('is asked again after its lifetime, not before', async () => {
    const { path, runs } = await program('{"username":"AWS","password":"ARGS"}');
    const source = sourceOf({ exec: [path, 'a', '$HOME'], lifetime: '1h' });
    expect((await source.get({ signal })).credential).toEqual({ username: 'AWS', password: 'a $HOME' });
    await clock.advance(3_599_999);
    await source.get({ signal });
    expect(await runs()).toBe(1);
    await clock.advance(1);
    await source.get({ signal });
    expect(await runs()).toBe(2);
  });

  it('runs once for many who wait', async () => {
    const { path, runs } = await program('{"token":"t"}');
    const source = sourceOf({ exec: [path] });
    const all = await Promise.all([1, 2, 3].map(() => source.get({ signal })));
    expect(all.map(({ credential }) => credential)).toEqual([{ token: 't' }, { token: 't' }, { token: 't' }]);
    expect(await runs()).toBe(1);
  });

  it('is asked again at once when what it gave was refused', async () => {
    const { path, runs } = await program('{"token":"t"}');
    const source = sourceOf({ exec: [path] });
    const { generation } = await source.get({ signal });
    await source.get({ signal, refused: generation });
    expect(await runs()).toBe(2);
    await source.get({ signal, refused: generation - 1 });
    expect(await runs()).toBe(2);
  });

  it.each([
    ['ends with an error', '{"token":"s3cr3t"}', 1],
    ['prints no JSON', 's3cr3t', 0],
    ['prints something else', '{"pass":"s3cr3t"}', 0],
    ['prints without an end', 'x'.repeat(100_000), 0],
  ])(
    'that %s fails without showing its output or arguments, and is left alone for 5 s',
    async (_what, output, status) => {
      const { path, runs } = await program(output, status);
      const source = sourceOf({ exec: [path, 'argum3nt'] });
      const error = await source.get({ signal }).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'token-failed' });
      expect(inspect(error, { depth: 10 })).not.toMatch(/s3cr3t|argum3nt/);
      await expect(source.get({ signal })).rejects.toBe(error);
      expect(await runs()).toBe(1);
      await clock.advance(5_000);
      await source.get({ signal }).catch(() => undefined);
      expect(await runs()).toBe(2);
    },
  );

  it('that is not there fails', async () => {
    await expect(sourceOf({ exec: [join(folder, 'none')] }).get({ signal })).rejects.toMatchObject({
      code: 'token-failed',
    });
  });

  it('is not started for one who has left', async () => {
    const loader = createCredentialLoader({ exec: [join(folder, 'none')] }, { key: 'hub', server: '', clock });
    const left = AbortSignal.abort(new Error('the client left'));
    await expect(loader?.load({ signal: left, refused: false })).rejects.toThrow('the client left');
    // That it is not there would be told by now, to nobody.
    await new Promise((resolve) => setImmediate(resolve));
    expect(clock.pending()).toBe(0);
  });

  it('is stopped when nobody waits for it any more, or when it takes more than 30 s', async () => {
    const path = join(folder, 'hang.mjs');
    await writeFile(path, `#!${process.execPath}\nsetInterval(() => undefined, 1000);\n`);
    await chmod(path, 0o755);
    const source = sourceOf({ exec: [path] });
    const abort = new AbortController();
    const given = source.get({ signal: abort.signal });
    abort.abort(new Error('the client left'));
    await expect(given).rejects.toThrow('the client left');
    const late = expect(source.get({ signal })).rejects.toMatchObject({ code: 'token-failed' });
    await clock.untilPending(1);
    await clock.advance(30_000);
    await late;
  });
});

describe('a credential helper', () => {
  const path = process.env['PATH'];
  afterEach(() => {
    process.env['PATH'] = path;
  });

  it('is found in the path, asked to get, given the address, and understood', async () => {
    const helper = await program('{"ServerURL":"x","Username":"INPUT","Secret":"ARGS"}');
    await rename(helper.path, join(folder, 'docker-credential-fake'));
    process.env['PATH'] = `${folder}:${path}`;
    const { credential } = await sourceOf({ helper: 'fake' }).get({ signal });
    expect(credential).toEqual({ username: 'registry.example', password: 'get' });
  });

  it('that prints no credential fails', async () => {
    const helper = await program('credentials not found in native keychain', 1);
    await rename(helper.path, join(folder, 'docker-credential-fake'));
    process.env['PATH'] = `${folder}:${path}`;
    await expect(sourceOf({ helper: 'fake' }).get({ signal })).rejects.toMatchObject({ code: 'token-failed' });
  });
});

describe('a provider', () => {
  it('is asked again after 5 min or when what it gave was refused, and told which', async () => {
    const refusals: boolean[] = [];
    const source = sourceOf(async ({ refused }) => {
      refusals.push(refused);
      return { token: `t${refusals.length}` };
    });
    const first = await source.get({ signal });
    await source.get({ signal });
    expect(refusals).toEqual([false]);
    const second = await source.get({ signal, refused: first.generation });
    expect(second.credential).toEqual({ token: 't2' });
    await clock.advance(300_000);
    await source.get({ signal });
    expect(refusals).toEqual([false, true, false]);
  });

  it('that gives something else fails', async () => {
    const source = sourceOf((async () => ({ user: 'ann' })) as never);
    await expect(source.get({ signal })).rejects.toMatchObject({ code: 'token-failed' });
  });
});
