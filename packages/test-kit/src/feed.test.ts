import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { feed } from './feed.ts';
import { openFiles } from './open-files.ts';

it('gives what it was fed, and waits for more', async () => {
  const body = feed(Buffer.from('a'));
  const got: string[] = [];
  const reading = (async () => {
    for await (const chunk of body.bytes) got.push(String(chunk));
  })();
  await expect.poll(() => got).toEqual(['a']);
  body.push(Buffer.from('b'), Buffer.from('c'));
  body.end();
  await reading;
  expect(got).toEqual(['a', 'b', 'c']);
  expect(body.taken).toBe(3);
  expect(body.closed).toBe(false);
});

it('fails as it was told, and knows that it was closed, also while somebody waits', async () => {
  const failing = feed();
  failing.fail(new Error('cut off'));
  await expect(failing.bytes[Symbol.asyncIterator]().next()).rejects.toThrow('cut off');

  const left = feed();
  const iterator = left.bytes[Symbol.asyncIterator]();
  const waiting = iterator.next();
  await iterator.return?.();
  expect(await waiting).toEqual({ done: true, value: undefined });
  expect(left.closed).toBe(true);
});

it('lists open files, deleted ones too', () => {
  const directory = mkdtempSync(join(tmpdir(), 'open-files-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const fd = openSync(join(directory, 'a'), 'w');
  expect(openFiles(directory)).toEqual([join(directory, 'a')]);
  rmSync(join(directory, 'a'));
  expect(openFiles(directory)).toHaveLength(1);
  closeSync(fd);
  expect(openFiles(directory)).toEqual([]);
});
