import { createDigestHash, type Digest, digestAlgorithm, finishDigest } from '../oci/digest.ts';
import type { Bytes } from '../runtime/bytes.ts';
import type { Clock } from '../runtime/clock.ts';
import { longestReadMs } from './far-reader.ts';
import { closeFile, openFile, readAt, removeFile, writeAll } from './file-system.ts';

/** A blob on its way into a local store, read while it comes. */
export interface Fill {
  readonly size: number;
  /** Fills `into` from there on, or as much of it as comes soon; `undefined`: it cannot be had from here, now or soon. */
  read(into: Uint8Array, position: number): Promise<number | undefined>;
  /** One more reads it, until the function is called. */
  hold(): () => Promise<void>;
  /** It is not to be stored: what it is a copy of was deleted. */
  cancel(): void;
  isCancelled(): boolean;
  /** Resolves when it is stored, or given up. Never rejects. */
  readonly ended: Promise<void>;
}

/** What a fill works with. */
export interface FillParts {
  digest: Digest;
  size: number;
  /** All of it. */
  body: Bytes;
  /** Where it is written; nothing is there yet. */
  file: string;
  /** Takes the verified file. */
  adopt(): Promise<void>;
  clock: Pick<Clock, 'monotonic' | 'after'>;
}

/** Who is this far ahead of what has come waits; who is further gets it in another way sooner. */
const mostAhead = 8 * 1024 * 1024;

/** Writes a body down, hands out what is written, and has it stored when its digest was found right. A fill that breaks off leaves nothing. */
export function createFill({ digest, size, body, file, adopt, clock }: FillParts): Fill {
  let fd: number | undefined;
  let written = 0;
  let isOver = false;
  let isCancelled = false;
  let isClosed = false;
  let holders = 1;
  let waiters: (() => void)[] = [];
  /** How much had come when somebody waited in vain for more: nobody waits again before there is more. */
  let stoodStillAt = -1;
  const ended = run();

  function wake(): void {
    const woken = waiters;
    waiters = [];
    for (const waiter of woken) waiter();
  }

  /** Waits until it has come so far, is over, or for as long as a read may take. */
  async function come(end: number): Promise<void> {
    const until = clock.monotonic() + longestReadMs;
    const cancel = clock.after(longestReadMs, wake);
    while (written < end && !isOver && clock.monotonic() < until) {
      await new Promise<void>((resolve) => {
        waiters.push(resolve);
      });
    }
    cancel();
  }

  async function letGo(): Promise<void> {
    holders--;
    if (holders > 0) return;
    // Its number may be another file's from now on.
    isClosed = true;
    if (fd !== undefined) await closeFile(fd).catch(() => undefined);
  }

  async function run(): Promise<void> {
    const hash = createDigestHash(digest);
    try {
      fd = await openFile(file, 'wx+', 0o600);
      for await (const chunk of body) {
        if (isCancelled) throw new Error('nobody wants it any more');
        hash.update(chunk);
        await writeAll(fd, chunk);
        written += chunk.byteLength;
        wake();
      }
      const isRight = written === size && finishDigest(hash, digestAlgorithm(digest)) === digest;
      if (!isRight || isCancelled) throw new Error(`what came is not ${digest}`);
      await adopt();
    } catch {
      // The store that it came from has it, and is asked for the rest.
      await removeFile(file).catch(() => undefined);
    }
    isOver = true;
    wake();
    await letGo();
  }

  return {
    size,
    ended,
    async read(into, position) {
      const end = Math.min(position + into.byteLength, size);
      if (end > written + mostAhead) return undefined;
      const before = written;
      if (before < end && !isOver && before !== stoodStillAt) {
        await come(end);
        if (written === before && !isOver) stoodStillAt = written;
      }
      const length = Math.min(written, end) - position;
      if (length <= 0 || (written < end && isOver) || fd === undefined || isClosed) return undefined;
      holders++;
      try {
        return await readAt(fd, into.subarray(0, length), position).catch(() => undefined);
      } finally {
        await letGo();
      }
    },
    hold() {
      if (isClosed) return async () => undefined;
      holders++;
      let isHeld = true;
      return async () => {
        if (!isHeld) return;
        isHeld = false;
        await letGo();
      };
    },
    cancel() {
      isCancelled = true;
    },
    isCancelled: () => isCancelled,
  };
}
