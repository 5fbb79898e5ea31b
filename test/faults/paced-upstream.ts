import { stat } from 'node:fs/promises';
import { type ChunkGate, chunkGate, type FakeHost, type Fault, type Step } from '@proxycache/test-kit';
import type { CacheUnderTest } from '../semantics/cache-under-test.ts';

const chunkBytes = 64 * 1024;
const tickMs = 10;
/** At a registry and at an object store. */
const gets = { method: 'GET', path: /\/(blobs|sha256)\// };

/** A host that sends each of its answers, or all of them together, only so much in a while of the cache's clock. */
export interface Pace {
  /** Moves on until the work is done. @returns after how many ms of the cache's clock the last byte had been sent */
  until(work: Promise<unknown>): Promise<number>;
  /** Moves on until something holds. */
  untilTrue(condition: () => boolean): Promise<void>;
}

interface Paced {
  host: FakeHost;
  cache: CacheUnderTest;
  /** Chunks that all connections together get in a while. Default: each one gets one. */
  total?: number;
  /** What else befalls the answers to GETs of blobs, from the first on. */
  faults?: readonly ('ok' | Fault | readonly Fault[])[];
}

/** Sets the pace of a host's blobs: 64 KiB in 10 ms. */
export function pace({ host, cache, total, faults = [] }: Paced): Pace {
  const shared = chunkGate(chunkBytes);
  const gates: ChunkGate[] = Array.from({ length: 400 }, () => (total === undefined ? chunkGate(chunkBytes) : shared));
  const open = new Set<ChunkGate>();
  host.script(
    gets,
    gates.map((own, index): Step => {
      const fault = faults[index] ?? 'ok';
      const all = fault === 'ok' ? [] : [fault].flat();
      // What takes the place of the answer has no body that could be slow.
      if (all.some((one) => 'status' in one || 'drop' in one || 'hang' in one)) return all as Fault[];
      const watched: ChunkGate = {
        ...own,
        async pass(signal) {
          open.add(own);
          signal?.addEventListener('abort', () => open.delete(own), { once: true });
          await own.pass(signal);
        },
      };
      return [{ throttle: watched }, ...all];
    }),
  );

  async function tick(): Promise<void> {
    if (total === undefined) for (const own of [...open]) own.allow(1);
    else shared.allow(total);
    if (total === undefined) open.clear();
    // What was sent has arrived, as both ends are in this process, and the disk has had its turn.
    for (let turn = 0; turn < 6; turn++) await stat(cache.directory);
    await cache.clock.advance(tickMs);
  }

  async function untilTrue(condition: () => boolean): Promise<void> {
    while (!condition()) await tick();
  }

  return {
    untilTrue,
    async until(work) {
      const from = cache.clock.monotonic();
      let sent = 0;
      let sentAt = from;
      let over = false;
      const end = () => {
        over = true;
      };
      work.then(end, end);
      await untilTrue(() => {
        if (host.sentBytes() > sent) sentAt = cache.clock.monotonic();
        sent = host.sentBytes();
        return over;
      });
      await work;
      return sentAt - from;
    },
  };
}
