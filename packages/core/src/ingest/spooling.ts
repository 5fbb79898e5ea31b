import type { Digest } from '../oci/digest.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { Slabs } from '../runtime/slabs.ts';
import { turn } from '../runtime/turn.ts';
import type { FetchedBlob } from '../upstream/upstream.ts';
import { appendedBytes } from './appended-bytes.ts';
import { inBatches } from './batches.ts';
import { type Comparison, createComparison } from './comparison.ts';
import { type HashesLeft, hashesAt } from './hashes-left.ts';
import { releasable } from './hold-back.ts';
import { keepStep } from './keeping-step.ts';
import { createLateRelease } from './late-release.ts';
import { createPlacedHash, type HashElsewhere, type PlacedHashParts } from './placed-hash.ts';
import { createProgress } from './progress.ts';
import { createRing, mostForEach, ringBytesFor } from './ring.ts';
import { type SharedMemory, shareMemory } from './shared-bytes.ts';
import type { SpoolFile } from './spool-file.ts';
import type { SpoolView } from './spool-view.ts';
import { createTurns, type Turns } from './turns.ts';

/** Enough for the ring, what waits to be written, and readers in step: with more in use, readers get it from the file. */
const mostShared = 16 * 1024 * 1024;

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
   * reader's to keep, as those of a {@link FetchedBlob} are. What came out of the slabs goes back to them.
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
  /** Resolves when those who waited for that have had their turn: what is left to be done is for nobody who waits. */
  verify(): Promise<void>;
  fail(error: unknown): void;
  /** It can be kept no longer: readers may go on from where they are, by themselves. Frees the memory it took. */
  abandon(error: unknown): void;
  /** Whether somebody still holds the file, so that it can be read. */
  isOpen(): boolean;
  /** Gives up the transfer's own hold on the file; it closes when the last reader has left too. */
  release(): Promise<void>;
}

/** What a spooling works with. */
export interface SpoolingParts extends Pick<PlacedHashParts, 'clock'> {
  slabs: Slabs;
  /** Shared by transfers. Default: its own. */
  turns?: Turns;
  /** Default: all is hashed here. */
  hashElsewhere?: HashElsewhere | undefined;
  /** Ends what is waited for from elsewhere. Default: nothing does. */
  signal?: AbortSignal;
  /** Gets why a file could not be closed by the last reader, who has what it read. */
  unclosed?: (cause: unknown) => void;
}

/** Fills `first` with the content of `digest`; whether it is that content is for the caller to see. */
export function createSpooling(
  first: SpoolFile,
  digest: Digest,
  { slabs, turns = createTurns(), hashElsewhere, signal, unclosed = () => undefined, clock }: SpoolingParts,
): Spooling {
  const ring = createRing();
  const ringRelease = createLateRelease(ring.reset);
  let file = first;
  const again = () => appendedBytes(file, signal);
  const hash = createPlacedHash(digest, { elsewhere: hashElsewhere, ring, again, signal, clock });
  let left: HashesLeft | undefined;
  const positions = new Set<() => number>();
  let before: Comparison | undefined;
  let forgotten: Promise<void> | undefined;
  const progress = createProgress();
  const { state, enter } = progress;
  let total: number | undefined;
  let failure: unknown;
  let holders = 1;
  let shared = 0;
  let atTurn = 0;

  function share(memory: Uint8Array): SharedMemory {
    shared += memory.byteLength;
    return shareMemory(() => {
      shared -= memory.byteLength;
      slabs.give(memory);
    });
  }

  async function letGo(): Promise<void> {
    holders--;
    if (holders === 0) await Promise.all([file.close(), before?.close(), forgotten]);
  }

  /**
   * The file has all of it, or nobody may read on: slow readers must not keep memory. Those in step need it for a moment
   * still: to read the last bytes from the file would take each of them a buffer.
   */
  function release(): Promise<void> {
    ringRelease.begin(state().phase === 'verified' ? inStep() : 0);
    return letGo();
  }

  const begun = () => {
    atTurn--;
  };

  /** How many readers find what they want next in memory. */
  const inStep = () => [...positions].filter((where) => ring.at(where())).length;

  /** How much of what came last is kept for readers in step. */
  const ringBytes = () => ringBytesFor(positions.size);

  /** What is in the file, and may leave, need not be hashed again. */
  function settle(): void {
    hash.settle(Math.min(file.written, releasable(state().contiguous, total)));
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
    state,
    wait: progress.wait,
    changed: progress.changed,
    recent: (position) =>
      shared > mostShared && position < file.written ? undefined : ring.at(position, mostForEach(positions.size)),
    turn(bytes) {
      const turn = turns.take(bytes, begun);
      if (turn !== undefined) atTurn++;
      return turn;
    },
    open(position) {
      if (holders === 0) throw new Error('nobody holds the spool file any more');
      holders++;
      if (position) positions.add(position);
      return {
        read: (into, from) => file.read(into, from),
        close() {
          if (position) positions.delete(position);
          ringRelease.left(inStep());
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
      hash.begin(total);
      let received = 0;
      for await (const { bytes, memory } of inBatches(body, { slabs, share, limit: () => total })) {
        // A few bytes over are as wrong as a wrong digest, and need not be kept.
        const chunk = bytes.subarray(0, Math.max((total ?? Number.POSITIVE_INFINITY) - received, 0));
        received += bytes.byteLength;
        memory.hold();
        file.append(chunk, memory.letGo);
        ring.push({ bytes: chunk, memory });
        hash.update(chunk, memory);
        const differsAt = before ? await before.take(chunk) : state().differsAt;
        memory.letGo();
        enter({ contiguous: Math.min(received, total ?? received), differsAt });
        if (differsAt !== undefined) forget();
        const ready = file.ready();
        if (ready) await written(ready);
        await hash.ready();
        // Readers who can keep up do so: reading the file again costs more than the memory that they look at.
        await keepStep(chunk.byteLength, received, { turns, positions, waiting: () => atTurn, inMemory: ringBytes });
        settle();
        ring.trim(hash.settled().length, ringBytes());
      }
      // One that ends where the other goes on differs there.
      if (before) enter({ differsAt: state().contiguous });
      forget();
      await written(file.flush());
      ring.trim(file.written, ringBytes());
      return { digest: await hash.finish(), size: received };
    },
    async restart(create, cause) {
      const wrong = file;
      const length = state().contiguous;
      failure = cause;
      total = undefined;
      ring.reset();
      hash.begin(0);
      enter({ contiguous: 0, epoch: state().epoch + 1, differsAt: undefined });
      // What is not in the file cannot be compared.
      await wrong.flush().catch(() => undefined);
      file = await create();
      before = createComparison(wrong, length);
    },
    verify() {
      enter({ phase: 'verified' });
      return turn();
    },
    fail(error) {
      failure = error ?? new Error('the transfer failed');
      hash.free();
      enter({ phase: 'failed' });
    },
    abandon(error) {
      failure = error;
      settle();
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
