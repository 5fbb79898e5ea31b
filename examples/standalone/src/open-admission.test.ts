import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AdmissionContext } from '@proxycache/core';
import { afterAll, describe, expect, test } from 'vitest';
import { parseConfig } from './load-config.ts';
import { openAdmission } from './open-admission.ts';

const folder = mkdtempSync(join(tmpdir(), 'proxycache-admission-'));
afterAll(() => rmSync(folder, { recursive: true }));

const open = (admission: unknown) => openAdmission({ config: parseConfig({ admission }, {}), folder });

async function failure(admission: unknown): Promise<string> {
  try {
    await open(admission);
  } catch (error) {
    return (error as Error).message;
  }
  return 'none';
}

/** A module in the folder. */
function module(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return name;
}

const day = 86_400_000;
const image = (fields: object) =>
  ({
    now: 10 * day,
    firstSeenAt: 0,
    annotations: {},
    manifest: { kind: 'image', blobs: [] },
    ...fields,
  }) as unknown as AdmissionContext;

test('a configuration without admission judges nothing', async () => {
  expect(await openAdmission({ config: parseConfig(null, {}), folder })).toBeUndefined();
});

test('each of the policies has to let an image pass', async () => {
  const own = module(
    'own.mjs',
    'export const admit = ({ repository }) => repository === "no" ? { deny: true, reason: "ours" } : { allow: true };',
  );
  const { admit, ...rest } = (await open({
    upstreams: ['docker-hub'],
    minimumAge: '7d',
    maxSize: '1MiB',
    module: own,
    within: '3s',
    decisionFor: '1h',
  }))!;
  expect(rest).toEqual({ upstreams: ['docker-hub'], within: 3_000, decisionFor: 3_600_000 });
  expect(await admit(image({}))).toEqual({ allow: true });
  expect(await admit(image({ firstSeenAt: 4 * day }))).toMatchObject({ holdUntil: 11 * day });
  const large = { kind: 'image', blobs: [{ size: 2 ** 20 + 1 }] };
  expect(await admit(image({ manifest: large }))).toMatchObject({ deny: true, reason: expect.stringMatching(/bytes/) });
  expect(await admit(image({ repository: 'no' }))).toEqual({ deny: true, reason: 'ours' });
});

test('a module may say which version its policy has', async () => {
  const own = module(
    'versioned.mjs',
    'export const admit = () => ({ allow: true }); export const version = () => "7";',
  );
  const { version } = (await open({ module: own }))!;
  expect((version as () => string)()).toBe('7');
});

describe('what is wrong is told by its path', () => {
  test.each([
    [{}, 'admission: expected minimumAge, platforms, maxSize or module'],
    [{ minimumAge: 'a week' }, 'admission.minimumAge: expected a duration'],
    [{ maxSize: 1, since: 'created' }, 'admission.since: expected minimumAge beside it'],
    [{ platforms: ['linux'] }, 'admission.platforms[0]: expected a platform such as "linux/amd64", received "linux"'],
    [{ platforms: [] }, 'admission.platforms: expected at least one platform'],
    [{ minimumAge: 0 }, 'admission.minimumAge: expected a duration of 1 ms or more'],
    [{ module: 'none.mjs' }, 'admission.module: cannot be loaded: '],
  ])('%j', async (admission, message) => {
    expect(await failure(admission)).toContain(message);
  });

  test('a module without a policy', async () => {
    expect(await failure({ module: module('empty.mjs', 'export const admits = true;') })).toContain(
      'to export a function admit',
    );
    const own = module('numbered.mjs', 'export const admit = () => ({ allow: true }); export const version = 7;');
    expect(await failure({ module: own })).toContain('to be a text, or a function that gives one');
  });
});
