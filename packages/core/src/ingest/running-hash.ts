import type { Digest } from '../oci/digest.ts';
import type { Bytes } from '../runtime/bytes.ts';
import { abortable } from '../runtime/collapse.ts';
import { type ContentHash, createContentHash, type HashedPrefix } from './content-hash.ts';
import type { SharedMemory } from './shared-bytes.ts';

/** The hash of a transfer, which can go back to a byte before: for those who go on by themselves from there. */
export interface RunningHash {
  /** Takes the next chunk. */
  update(chunk: Uint8Array, memory?: SharedMemory): void;
  /** Resolves when the next chunk may be given; `undefined`: at once. Rejects where `finish` would. */
  ready(): Promise<void> | undefined;
  /** Tells that it need not go back further than `position`. */
  settle(position: number): void;
  /** The latest it can go back to, at or before what was settled. */
  settled(): HashedPrefix;
  /** The digest of all; the end of it. Rejects where what worked it out has ended, and it could not be worked out again. */
  finish(): Promise<Digest>;
  /** Tells that it is used no more, nor anything that was settled. */
  free(): void;
}

/** What a running hash is worked out with. */
export interface RunningHashParts {
  /** Default: one that is worked out here. */
  hash?: ContentHash | undefined;
  /** All that was given so far, from its first byte on: asked for where what works it out has ended. */
  again(): Bytes;
  /** Ends what is waited for: a thread may stand still, and to hash again takes long. Default: nothing does. */
  signal?: AbortSignal | undefined;
}

// Copying the state costs a few microseconds.
const stepBytes = 1024 * 1024;

export function createRunningHash(
  digest: Digest,
  { hash = createContentHash(digest), again, signal }: RunningHashParts,
): RunningHash {
  let length = 0;
  let settledTo = 0;
  let last: HashedPrefix = { length: 0, hash: hash.copy() };
  let marks: [HashedPrefix, ...HashedPrefix[]] = [last];

  function free(): void {
    hash.free();
    for (const mark of marks) mark.hash.free();
  }

  function settle(position: number): void {
    settledTo = position;
    while (marks[1] && marks[1].length <= position) marks.shift()?.hash.free();
  }

  function update(chunk: Uint8Array, memory?: SharedMemory): void {
    hash.update(chunk, memory);
    length += chunk.byteLength;
    if (length - last.length < stepBytes) return;
    last = { length, hash: hash.copy() };
    marks.push(last);
  }

  const unlessOver = <T>(work: Promise<T>): Promise<T> => (signal ? abortable(work, signal) : work);

  async function untilReady(waiting: Promise<void>): Promise<void> {
    await unlessOver(waiting.catch(workOutHere));
  }

  async function digestOfAll(): Promise<Digest> {
    try {
      return await hash.digest();
    } catch {
      await workOutHere();
      return await hash.digest();
    }
  }

  /**
   * What works it out has ended: here it goes on, with all that came. Where that cannot be read, nothing says whether
   * what readers were given is right, so that they cannot go on by themselves.
   */
  async function workOutHere(): Promise<void> {
    try {
      await workOutAgain();
    } catch (cause) {
      throw new Error(`cannot hash again what came: ${(cause as Error).message}`, { cause });
    }
  }

  async function workOutAgain(): Promise<void> {
    free();
    hash = createContentHash(digest);
    last = { length: 0, hash: hash.copy() };
    marks = [last];
    const [known, settledBefore] = [length, settledTo];
    length = 0;
    for await (const chunk of again()) {
      update(chunk);
      settle(Math.min(settledBefore, length));
    }
    settle(settledBefore);
    if (length !== known) throw new Error(`${length} bytes can be read of ${known} that came`);
  }

  return {
    update,
    ready() {
      const waiting = hash.ready();
      return waiting && untilReady(waiting);
    },
    settle,
    settled: () => marks[0],
    async finish() {
      try {
        return await unlessOver(digestOfAll());
      } finally {
        free();
      }
    },
    free,
  };
}
