import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { fileStorage } from './file-storage.ts';
import { fileBlobs } from './local-blobs.ts';
import { memoryStorage } from './memory-storage.ts';
import { tiered } from './tiered.ts';

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'proxycache-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

describe.each([
  ['fileStorage', fileStorage],
  ['fileBlobs', fileBlobs],
] as const)('%s', (of, make) => {
  it.each([
    [{ durrable: true }, 'options.durrable: there is no such option; did you mean durable?'],
    [{ durable: 'false' }, 'durable: expected true or false, received "false"'],
    [{ clock: { now: Date.now } }, 'clock.monotonic: expected a function, received undefined'],
    [null, 'options: expected an object, received null'],
    ['durable', 'options: expected an object, received "durable"'],
  ])('refuses %j, and makes nothing', (options, said) => {
    const folder = newFolder();
    expect(() => make(folder, options as never)).toThrow(`${of}: ${said}`);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('refuses what is no folder', () => {
    expect(() => make('')).toThrow(`${of}: expected a folder, received ""`);
  });
});

it('memoryStorage refuses options that there are not', () => {
  expect(() => memoryStorage({ maxBytes: 1 } as never)).toThrow(
    'memoryStorage: options.maxBytes: there is no such option',
  );
});

it.each([
  [undefined, 'tiered: tiers: expected an object, received undefined'],
  [{ local: {} }, 'tiered: local.adopt: expected a function, received undefined'],
  [{ locale: {} }, 'tiered: tiers.locale: there is no such option; did you mean local?'],
])('tiered refuses %j', (tiers, said) => {
  expect(() => tiered(tiers as never)).toThrow(said);
});

it('tiered refuses a remote store in place of the local one', () => {
  const { blobs } = memoryStorage();
  expect(() => tiered({ local: blobs as never, remote: blobs })).toThrow('tiered: local.newPath: expected a function');
  const local = { ...blobs, newPath: () => '' };
  expect(() => tiered({ local: local as never, remote: blobs })).toThrow('tiered: local.takes: expected a function');
});
