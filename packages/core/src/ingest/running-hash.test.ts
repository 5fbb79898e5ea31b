import { once } from 'node:events';
import { MessageChannel } from 'node:worker_threads';
import { seededBytes } from '@proxycache/test-kit';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { appendedBytes } from './appended-bytes.ts';
import type { ContentHash } from './content-hash.ts';
import { createRunningHash } from './running-hash.ts';
import { serveHashes } from './serve-hashes.ts';
import type { SpoolFile } from './spool-file.ts';
import { createThreadHash } from './thread-hash.ts';

const MiB = 1024 * 1024;
const bytes = seededBytes('hashed', 8 * MiB);
const digest = digestOf(bytes);

async function* chunksOf(of: Uint8Array, size = 64 * 1024): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = 0; at < of.byteLength; at += size) yield of.subarray(at, at + size);
}

const never = () => chunksOf(new Uint8Array());

/** A hash that is worked out by a thread of which the test is the other end. */
function threaded(): { hash: ContentHash; end(): void } {
  const { port1, port2 } = new MessageChannel();
  serveHashes(port2);
  return { hash: createThreadHash(digest, () => port1), end: () => port2.close() };
}

describe.each(['here', 'in a thread'])('worked out %s', (where) => {
  const hash = () => (where === 'here' ? undefined : threaded().hash);

  it.each([
    [0, 0],
    [MiB - 1, 0],
    [MiB, MiB],
    [4 * MiB + 5, 4 * MiB],
    [99 * MiB, 8 * MiB],
  ])('goes back, of 8 MiB of which %i are settled, to byte %i', async (settled, expected) => {
    const running = createRunningHash(digest, { hash: hash(), again: never });
    for await (const chunk of chunksOf(bytes)) {
      running.update(chunk);
      await running.ready();
    }
    running.settle(settled);
    const prefix = running.settled();
    expect(prefix.length).toBe(expected);
    expect(await prefix.hash.copy().digest()).toBe(digestOf(bytes.subarray(0, expected)));
    expect(await running.finish()).toBe(digest);
  });
});

describe('when the thread that works it out ends', () => {
  const after = fc.integer({ min: 0, max: 31 });

  it('goes on here with what came before, wherever it ended', async () => {
    await fc.assert(
      fc.asyncProperty(after, after, async (endsAfter, settledAfter) => {
        const { hash, end } = threaded();
        let came = 0;
        const running = createRunningHash(digest, { hash, again: () => chunksOf(bytes.subarray(0, came)) });
        let count = 0;
        for await (const chunk of chunksOf(bytes, MiB / 4)) {
          running.update(chunk);
          came += chunk.byteLength;
          if (count === endsAfter) end();
          await running.ready();
          if (count === settledAfter) running.settle(came - 100);
          count++;
        }
        expect(await running.finish()).toBe(digest);
      }),
      { numRuns: 40 },
    );
  });

  it('goes back no further than before, and never beyond what was settled', async () => {
    const { hash, end } = threaded();
    const running = createRunningHash(digest, { hash, again: () => chunksOf(bytes) });
    for await (const chunk of chunksOf(bytes)) running.update(chunk);
    running.settle(5 * MiB + 7);
    end();
    await expect.poll(() => running.ready(), { timeout: 15_000 }).toBeUndefined();
    const prefix = running.settled();
    expect(prefix.length).toBe(5 * MiB);
    expect(await prefix.hash.copy().digest()).toBe(digestOf(bytes.subarray(0, 5 * MiB)));
    expect(await running.finish()).toBe(digest);
  });

  it('gives what was missing between its last chunk and the digest', async () => {
    const { hash, end } = threaded();
    const running = createRunningHash(digest, { hash, again: () => chunksOf(bytes) });
    for await (const chunk of chunksOf(bytes)) running.update(chunk);
    end();
    expect(await running.finish()).toBe(digest);
  });

  it('fails where what came can be read no longer, or not all of it', async () => {
    for (const left of [0, bytes.byteLength - 1]) {
      const { hash, end } = threaded();
      const running = createRunningHash(digest, { hash, again: () => chunksOf(bytes.subarray(0, left)) });
      for await (const chunk of chunksOf(bytes)) running.update(chunk);
      end();
      await expect(running.finish()).rejects.toThrow(`${left} bytes can be read of ${bytes.byteLength}`);
    }
  });
});

describe('for a transfer that is over', () => {
  it('waits for no thread that stands still', async () => {
    const { port1, port2 } = new MessageChannel();
    onTestFinished(() => port2.close());
    const over = new AbortController();
    const hash = createThreadHash(digest, () => port1);
    const running = createRunningHash(digest, { hash, again: never, signal: over.signal });
    running.update(bytes);
    const ready = expect(running.ready()).rejects.toThrow('closed');
    const finished = expect(running.finish()).rejects.toThrow('closed');
    over.abort(new Error('closed'));
    await Promise.all([ready, finished]);
  });

  it('asked a thread to forget what it had told the digest of, which ended the thread for all', async () => {
    const { port1, port2 } = new MessageChannel();
    const asked: string[] = [];
    port2.on('message', ({ what }) => asked.push(what));
    const over = new AbortController();
    const hash = createThreadHash(digest, () => port1);
    const running = createRunningHash(digest, { hash, again: never, signal: over.signal });
    const finished = expect(running.finish()).rejects.toThrow('closed');
    over.abort(new Error('closed'));
    await finished;
    running.free();
    await once(port2, 'close');
    expect(asked).toEqual(['create', 'copy', 'digest', 'free']);
  });

  it('hashes nothing again', async () => {
    const over = new AbortController();
    let windows = 0;
    const file = {
      flush: async () => undefined,
      written: 10 * 256 * 1024,
      async read(into: Uint8Array) {
        windows++;
        if (windows === 2) over.abort(new Error('closed'));
        return into.byteLength;
      },
    } as unknown as SpoolFile;
    const readBack = async () => {
      for await (const _ of appendedBytes(file, over.signal));
    };
    await expect(readBack()).rejects.toThrow('closed');
    expect(windows).toBe(2);
  });
});
