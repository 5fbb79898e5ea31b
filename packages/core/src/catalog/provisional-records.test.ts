import { manualClock } from '@proxycache/test-kit';
import { describe, expect, it } from 'vitest';
import { memoryStorage } from '../store/memory-storage.ts';
import { provisional } from './provisional-records.ts';
import { createRecords } from './records.ts';

const { signal } = new AbortController();

function start() {
  const { metadata } = memoryStorage();
  const all = createRecords<{ n: number; worth: boolean }>(
    { metadata, observe: () => undefined, clock: manualClock() },
    10,
  );
  const records = provisional(all, ({ worth }) => worth);
  const keys = async () => [...(await metadata.list('', { limit: 10, signal }))];
  return { records, keys };
}

describe('provisional', () => {
  it('keeps what is not worth keeping in memory alone', async () => {
    const { records, keys } = start();
    await records.update('a/1', () => ({ n: 1, worth: false }));
    expect(await records.get('a/1', signal)).toEqual({ n: 1, worth: false });
    expect(await keys()).toEqual([]);
  });

  it('stores a record once it is worth it, on top of what was remembered', async () => {
    const { records, keys } = start();
    await records.update('a/1', () => ({ n: 1, worth: false }));
    await records.update('a/1', (record) => ({ n: (record?.n ?? 0) + 1, worth: true }));
    expect(await records.get('a/1', signal)).toEqual({ n: 2, worth: true });
    expect(await keys()).toEqual(['a/1']);
  });

  it('keeps a stored record up to date, whatever it says', async () => {
    const { records, keys } = start();
    await records.update('a/1', () => ({ n: 1, worth: true }));
    await records.update('a/1', () => ({ n: 2, worth: false }));
    expect(await records.get('a/1', signal)).toEqual({ n: 2, worth: false });
    expect(await keys()).toEqual(['a/1']);
  });

  it('leaves a record that its change leaves', async () => {
    const { records, keys } = start();
    await records.update('a/1', () => undefined);
    expect(await records.get('a/1', signal)).toBeUndefined();
    expect(await keys()).toEqual([]);
  });
});
