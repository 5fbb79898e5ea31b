import { expect, it } from 'vitest';
import type { ProxyCacheEvent } from './events.ts';
import { digestOf } from './oci/digest.ts';
import { createOffload } from './offload.ts';

const digest = digestOf(new Uint8Array());

it('starts no thread where nothing is offloaded', () => {
  const { hashElsewhere, lanes, isShared } = createOffload({ offload: 'off' }, () => undefined);
  expect([hashElsewhere, lanes, isShared]).toEqual([undefined, undefined, false]);
});

// As in a bundle: beside the sources there is no thread.js either.
it('says once that the module of its threads is missing, and leaves the work to others', async () => {
  const events: ProxyCacheEvent[] = [];
  const { hashElsewhere } = createOffload({ offload: 'hash' }, (event) => events.push(event));
  const hash = hashElsewhere?.(digest);
  await expect(hash?.digest()).rejects.toThrow('has ended');
  await expect.poll(() => events, { timeout: 15_000 }).toHaveLength(1);
  expect(events[0]).toMatchObject({ type: 'warning', message: expect.stringContaining('thread.js') });
  expect(hashElsewhere?.(digest)).toBeUndefined();
});

it('offers threads to blobs that come in together, if nothing else is asked for', () => {
  const { hashElsewhereFrom, lanes, isShared } = createOffload({}, () => undefined);
  expect([hashElsewhereFrom, lanes, isShared]).toEqual([2, undefined, true]);
  expect(createOffload({ offload: 'hash' }, () => undefined).hashElsewhereFrom).toBe(1);
});
