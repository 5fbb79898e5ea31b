import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { UpstreamAuth } from './credentials.ts';
import { generationOf } from './generation.ts';

const url = 'https://registry.example';
const of = (auth: UpstreamAuth, rest: object = {}) => generationOf({ url, auth, credentials: 'own', ...rest });
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'proxycache-generation-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function filesOf(username: string, password: string): UpstreamAuth {
  const [usernameFile, passwordFile] = [join(folder, 'username'), join(folder, 'password')];
  writeFileSync(usernameFile, username);
  writeFileSync(passwordFile, password);
  return { usernameFile, passwordFile };
}

describe('the generation of proofs', () => {
  it('is another one for another URL, user, token, program, helper, reference or client certificate', () => {
    const all = [
      of('anonymous'),
      of('anonymous', { url: 'https://registry.example/other' }),
      of({ username: 'ann', password: 'x' }),
      of({ username: 'bob', password: 'x' }),
      of({ token: 'x' }),
      of({ token: 'y' }),
      of(async () => ({ token: 'x' })),
      of({ helper: 'ecr-login' }),
      of({ helper: 'gcr' }),
      of({ reference: 'a' }),
      of({ reference: 'b' }),
      of({ exec: ['get', 'a'] }),
      of({ exec: ['get', 'b'] }),
      of('anonymous', { tls: { cert: 'a' } }),
      of('anonymous', { tls: { cert: 'b' } }),
    ];
    expect(new Set(all).size).toBe(all.length);
  });

  it('is the same for the same user with a new password, in options or in files', () => {
    const ann = of({ username: 'ann', password: 'old' });
    expect(of({ username: 'ann', password: 'new' })).toBe(ann);
    expect(of(filesOf('ann\n', 'old'))).toBe(ann);
    expect(of(filesOf('ann', 'new'))).toBe(ann);
    expect(of(filesOf('bob', 'old'))).not.toBe(ann);
  });

  it('is the same at each start, also where a file is not there yet', () => {
    expect(of('anonymous')).toBe(of('anonymous'));
    const files = { usernameFile: join(folder, 'none'), passwordFile: join(folder, 'none') };
    expect(of(files)).toBe(of(files));
    expect(of(async () => ({ token: 'x' }))).toBe(of(async () => ({ token: 'y' })));
  });

  it('is short, fit for a key, and tells nothing', () => {
    const generation = of({ token: 's3cr3t' });
    expect(generation).toMatch(/^[A-Za-z0-9_-]{16}$/);
    expect(generation).not.toContain('s3cr3t');
  });
});
