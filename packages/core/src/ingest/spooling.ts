import type { Digest } from '../oci/digest.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { FetchedBlob } from '../upstream/upstream.ts';
import { type Comparison, createComparison } from './comparison.ts';
import { type HashesLeft, hashesAt } from './hashes-left.ts';
import { releasable } from './hold-back.ts';
import { createPacker } from './packed.ts';
import { createRing } from './ring.ts';
import { createRunningHash } from './running-hash.ts';
import type { SpoolFile } from './spool-file.ts';
import type { SpoolState, SpoolView } from './spool-view.ts';

/** Enough for readers in step with the transfer; those further behind read the file. */
const ringBytes = 2 * 1024 * 1024;

/** What a body came to. */
export interface Received {
  digest: Digest;
  size: number;
}

/** The writing side of a {@link SpoolView}. */
export interface Spooling {
  view: SpoolView;
  /** Sets the size of the whole blob, once it is known. */
  expect(total: number | undefined): void;
  /**
   * Takes a body in, to its end, from byte 0 on. Its chunks are kept, for the file and all readers: they must be the
   * reader's to keep, as those of a {@link FetchedBlob} are.
   *
   * @returns the digest of what is here now, and the bytes that came: more of them where they were over `expect`
   * @throws what the body throws; ProxyCacheError `storage-failed` when the file could not be written
   */
  fill(body: FetchedBlob['body']): Promise<Received>;
  /**
   * Starts anew, in another file: what came turned out wrong, as may have been what was told of its size. At once nobody
   * gets any more of it; the next `fill` finds out where it differs, and closes its file then.
   *
   * @param cause why, for those whom the new try cannot help
   */
  restart(create: () => Promise<SpoolFile>, cause: unknown): Promise<void>;
  verify(): void;
  fail(error: unknown): void;
  /** It can be kept no longer: readers may go on from where they are, by themselves. Frees the memory it took. */
  abandon(error: unknown): void;
  /** Whether somebody still holds the file, so that it can be read. */
  isOpen(): boolean;
  /** Gives up the transfer's own hold on the file; it closes when the last reader has left too. */
  release(): Promise<void>;
}

/**
 * Fills `first` with the content of `digest`; whether it is that content is for the caller to see.
 *
 * @param unclosed gets why a file could not be closed by the last reader, who has what it read
 */
export function createSpooling(
  first: SpoolFile,
  digest: Digest,
  unclosed: (cause: unknown) => void = () => undefined,
): Spooling {
  const ring = createRing();
  let file = first;
  let hash = createRunningHash(digest);
  let left: HashesLeft | undefined;
  const positions = new Set<() => number>();
  let before: Comparison | undefined;
  let forgotten: Promise<void> | undefined;
  let state: SpoolState = { contiguous: 0, phase: 'filling', epoch: 0 };
  let total: number | undefined;
  let failure: unknown;
  let holders = 1;
  const waiting = new Set<() => void>();

  function enter(next: Partial<SpoolState>): void {
    state = { ...state, ...next };
    for (const wake of waiting) wake();
    waiting.clear();
  }

  async function letGo(): Promise<void> {
    holders--;
    if (holders === 0) await Promise.all([file.close(), before?.close(), forgotten]);
  }

  /** The file has all of it, or nobody may read on: slow readers must not keep memory. */
  function release(): Promise<void> {
    ring.reset();
    return letGo();
  }

  /** Lets go of the try before: where it differs is known. Nobody waits for a slow disk here. */
  function forget(): void {
    forgotten = before?.close() ?? forgotten;
    forgotten?.catch(() => undefined);
    before = undefined;
  }

  const view: SpoolView = {
    get total() {
      return total;
    },
    get failure() {
      return failure;
    },
    state: () => state,
    changed(seen, signal) {
      if (state !== seen) return Promise.resolve();
      return new Promise((resolve, reject) => {
        const leave = () => {
          waiting.delete(wake);
          reject(signal.reason);
        };
        const wake = () => {
          signal.removeEventListener('abort', leave);
          resolve();
        };
        if (signal.aborted) return leave();
        signal.addEventListener('abort', leave, { once: true });
        waiting.add(wake);
      });
    },
    recent: (position) => ring.at(position),
    open(position) {
      if (holders === 0) throw new Error('nobody holds the spool file any more');
      holders++;
      if (position) positions.add(position);
      return {
        read: (into, from) => file.read(into, from),
        close() {
          if (position) positions.delete(position);
          return letGo().catch(unclosed);
        },
      };
    },
    prefix: (position) => left && (left.at.get(position) ?? left.settled),
  };

  return {
    view,
    expect(size) {
      total = size;
    },
    async fill(body) {
      hash = createRunningHash(digest);
      let received = 0;
      const pack = createPacker();
      for await (const given of body) {
        const chunk = pack(given);
        received += chunk.byteLength;
        // A few bytes over are as wrong as a wrong digest, and need not be waited for.
        if (total !== undefined && received > total) break;
        hash.update(chunk);
        ring.push(chunk);
        file.append(chunk);
        const differsAt = before ? await before.take(chunk) : state.differsAt;
        enter({ contiguous: received, differsAt });
        if (differsAt !== undefined) forget();
        await written(file.ready());
        hash.settle(Math.min(file.written, releasable(received, total)));
        ring.trim(hash.settled().length, ringBytes);
      }
      // One that ends where the other goes on differs there.
      if (before) enter({ differsAt: received });
      forget();
      await written(file.flush());
      ring.trim(file.written, ringBytes);
      return { digest: hash.finish(), size: received };
    },
    async restart(create, cause) {
      const wrong = file;
      const length = state.contiguous;
      failure = cause;
      total = undefined;
      ring.reset();
      hash = createRunningHash(digest);
      enter({ contiguous: 0, epoch: state.epoch + 1, differsAt: undefined });
      // What is not in the file cannot be compared.
      await wrong.flush().catch(() => undefined);
      file = await create();
      before = createComparison(wrong, length);
    },
    verify: () => enter({ phase: 'verified' }),
    fail(error) {
      failure = error ?? new Error('the transfer failed');
      enter({ phase: 'failed' });
    },
    abandon(error) {
      failure = error;
      left = hashesAt(hash.settled(), positions, ring);
      ring.reset();
      enter({ phase: 'abandoned', contiguous: left.settled.length });
    },
    isOpen: () => holders > 0,
    release,
  };
}

async function written(writing: Promise<void>): Promise<void> {
  try {
    await writing;
  } catch (cause) {
    throw new ProxyCacheError('storage-failed', `cannot write the spool: ${(cause as Error).message}`, { cause });
  }
}
