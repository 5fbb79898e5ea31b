import { expect, test } from 'vitest';
import { hashSlot } from './hash-slot.ts';
import { keyLayout, shardOf, shards } from './key-layout.ts';

// What `CLUSTER KEYSLOT` answers, and the example of the specification of Redis clusters.
test.each([
  ['123456789', 0x31c3],
  ['foo', 12_182],
  ['{user1000}.following', 3_443],
  ['user1000', 3_443],
  ['foo{}{bar}', 8_363],
  ['foo{{bar}}zap', 4_015],
  ['foo{bar}{zap}', 5_061],
])('%s is in slot %d', (key, slot) => {
  expect(hashSlot(key)).toBe(slot);
});

test('a record is in the slot of its index, and records are spread evenly', () => {
  const { record, index } = keyLayout('px:1');
  const counts = new Map<number, number>();
  for (let at = 0; at < 6_400; at++) {
    const key = `tag/hub/-/library%2Fapp${at}/latest`;
    const shard = shardOf(key);
    expect(hashSlot(record(key))).toBe(hashSlot(index(shard)));
    counts.set(shard, (counts.get(shard) ?? 0) + 1);
  }
  expect(counts.size).toBe(shards);
  expect(Math.max(...counts.values())).toBeLessThan(200);
});

test('where a key is found is the same as in any other version', () => {
  expect(keyLayout('proxycache').record('tag/hub/-/library%2Falpine/3.20')).toBe(
    'proxycache::{57}tag/hub/-/library%2Falpine/3.20',
  );
});
