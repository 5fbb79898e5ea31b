import { readdirSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { flakyStore, seededBytes } from '@proxycache/test-kit';
import { describe, expect, test } from 'vitest';
import { startPair } from '../semantics/cache-under-test.ts';
import { stepClock } from '../semantics/step-clock.ts';
import { slowClient } from './slow-client.ts';

const MiB = 1024 * 1024;
const bytes = Buffer.from(seededBytes('taken over', 32 * MiB));
const gets = { method: 'GET', path: /\/blobs\// };

describe('the first request for the rest of a transfer whose file can be read no longer', () => {
  /** Clients in the middle of a blob whose file is gone. */
  async function startCut(clients: number, options: Parameters<typeof startPair>[0] = {}) {
    const pair = await startPair({
      ...options,
      cache: { minFree: 0 },
      mount: {
        wrapStorage(storage) {
          const flaky = flakyStore(storage);
          flaky.on('blobs.adopt', { hang: true });
          return flaky;
        },
      },
    });
    const digest = pair.upstream.putBlob('team/app', bytes);
    const url = `${pair.cache.url}/v2/up/team/app/blobs/${digest}`;
    const behind = await Promise.all(Array.from({ length: clients }, () => slowClient(url)));
    await (await slowClient(url)).rest();
    const [spooled] = readdirSync(join(pair.cache.directory, 'spool'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
    truncateSync(spooled!, MiB);
    return { ...pair, behind };
  }

  test.each([
    ['is refused with an error', [{ status: 503 }, { status: 503 }]],
    ['meets a member of the registry that lags behind', [{ status: 404 }]],
    ['is lost', [{ drop: 'rst' as const }, { drop: 'rst' as const }, { drop: 'rst' as const }]],
  ])('is asked again where it %s', { timeout: 60_000 }, async (_what, steps) => {
    const { upstream, cache, behind } = await startCut(1);
    upstream.script(gets, steps);
    const got = await stepClock(cache.clock, behind[0]!.rest());
    expect(got.equals(bytes)).toBe(true);
    expect(upstream.count(gets)).toBe(2 + steps.length);
  });

  test('waits for a connection for longer than queueFor, where many ask together', { timeout: 60_000 }, async () => {
    // The clock is moved on by more than connecting may take while connections are being made.
    const { upstream, cache, behind } = await startCut(5, {
      limits: { maxConnections: 2, queueFor: '1s' },
      timeouts: { connect: '60s' },
    });
    const [first, ...others] = behind;
    await first!.readTo(8 * MiB);
    const rests = Promise.all(others.map((client) => client.rest()));
    await expect.poll(() => cache.seen('passed-through').length).toBe(5);
    for (let waited = 0; waited < 10; waited++) await cache.clock.advance(1_000);
    expect((await first!.rest()).equals(bytes)).toBe(true);
    const got = await stepClock(cache.clock, rests);
    expect(got.map((all) => all.equals(bytes))).toEqual([true, true, true, true]);
    expect(upstream.count(gets)).toBe(6);
  });
});
