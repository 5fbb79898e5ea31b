import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { secretsFolder } from './secrets-folder.ts';

const { signal } = new AbortController();

function makeFolder(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'proxycache-secrets-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

test('a reference means the files of its folder, without the line break at their end, as they are now', async () => {
  const folder = makeFolder({
    'secrets/hub/username': 'reader\n',
    'secrets/hub/password': 'one',
    'secrets/ci/token': 'abc',
  });
  const secretOf = secretsFolder(join(folder, 'secrets'));
  expect(await secretOf('hub', { signal })).toEqual({ username: 'reader', password: 'one' });
  expect(await secretOf('ci', { signal })).toEqual({ token: 'abc' });
  writeFileSync(join(folder, 'secrets/hub/password'), 'two');
  expect(await secretOf('hub', { signal })).toEqual({ username: 'reader', password: 'two' });
});

test.each(['..', '.', '../other', 'a/../../other', '/etc', '', 'a\0b'])(
  '%j leads out of the folder and is refused',
  async (reference) => {
    const folder = makeFolder({ 'other/token': 'not for this', 'secrets/hub/token': 'abc' });
    await expect(secretsFolder(join(folder, 'secrets'))(reference, { signal })).rejects.toThrow(
      'not the name of a folder',
    );
  },
);

test('a reference that there is no folder for is an error', async () => {
  await expect(secretsFolder(makeFolder({}))('hub', { signal })).rejects.toThrow('ENOENT');
});
