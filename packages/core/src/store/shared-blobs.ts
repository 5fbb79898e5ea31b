import type { Digest } from '../oci/digest.ts';
import type { Clock } from '../runtime/clock.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { BlobStore, OpenBlob } from './blob-store.ts';
import { type StoreEvent, storeFailed } from './events.ts';
import type { KeptBlobs, MaybeKept } from './kept-blobs.ts';
import { createReaderCounts } from './reader-counts.ts';

/** A blob as one reader has it open. */
export interface OpenedBlob {
  digest: Digest;
  /** `close()` is told of, and never rejects. */
  blob: OpenBlob;
  /** All of it, found right, where memory has it: until it is closed. */
  bytes?: Uint8Array;
  /** `clock.now()` when the store was asked for it: what was stored later is another one. */
  openedAt: number;
  /** The later one of two has the higher number; those who share one have the same. */
  opening: number;
}

/** The blobs of a store, each opened once for all who read it within a second. */
export interface SharedBlobs extends BlobStore {
  kept: Pick<KeptBlobs, 'reserve'>;
  /** Opens a blob that others have open already, or have just read, without asking the store. */
  held(digest: Digest): OpenedBlob | undefined;
  /**
   * The same, or asks the store for it.
   *
   * @param options.anew whether what the store has is opened in any case. Default false
   * @param options.forBytes as for {@link BlobStore.open}
   */
  share(digest: Digest, options: Asked): Promise<OpenedBlob | undefined>;
  /** Whether anybody has a blob open. */
  isOpen(digest: Digest): boolean;
  /** Closes what nobody reads; the rest is closed by its last reader, and nothing is shared from now on. Never rejects. */
  close(): Promise<void>;
}

type Asked = { anew?: boolean; forBytes?: boolean; signal: AbortSignal };
type FileBlob = Extract<MaybeKept, { kind: 'file' }>;

/** A blob as the store gave it. It is closed when it is not shared any more and its last reader has closed it. */
interface Source extends Omit<OpenedBlob, 'blob'> {
  file: FileBlob;
  /** By `clock.monotonic()`: when it is shared no more. */
  until: number;
  readers: number;
  isShared: boolean;
  /** Ends its count among those that are read and not shared. */
  leaveApart?: (() => void) | undefined;
  closing?: Promise<void>;
}

/**
 * How long a blob is given to others from the instant it was asked for, whoever reads it: what another process, or a
 * person, does to the store is seen that much later.
 */
const sharedForMs = 1_000;

/** Files that are shared at once. One that makes way is read to its end by those who have it. */
const mostShared = 128;

/**
 * Opens blobs for many readers at once: to open, look at and close a small file costs more than to read it. What this
 * process deletes, puts aside or stores is shared no more from the call on, nor is what could not be read.
 */
export function shareBlobs(
  blobs: BlobStore,
  { kept, clock, observe }: { kept: KeptBlobs; clock: Clock; observe(event: StoreEvent): void },
): SharedBlobs {
  const shared = new Map<Digest, Source>();
  /** Those of them that hold a file. */
  const files = new Set<Source>();
  /** Of each digest that the store is being asked for, how often; those asked before a change are not in it. */
  const asked = new Map<Digest, { times: number }>();
  const ending = new Set<Promise<void>>();
  /** What is read and not shared. */
  const apart = createReaderCounts();
  let openings = 0;
  let isClosed = false;
  let stopTimer: (() => void) | undefined;

  async function closed(digest: Digest, blob: OpenBlob): Promise<void> {
    try {
      await blob.close();
    } catch (error) {
      observe(storeFailed('close', digest, error));
    }
  }

  /** Lets go of it where nobody has it any more. */
  async function letGo(source: Source): Promise<void> {
    if (source.isShared || source.readers > 0) return;
    source.leaveApart?.();
    const closing = source.closing ?? closed(source.digest, source.file);
    source.closing = closing;
    ending.add(closing);
    await closing;
    ending.delete(closing);
  }

  function unshare(source: Source): void {
    if (!source.isShared) return;
    source.isShared = false;
    shared.delete(source.digest);
    files.delete(source);
    if (source.readers > 0) source.leaveApart = apart.enter(source.digest);
    void letGo(source);
  }

  /** Whoever asks from now on gets what the store has then. */
  function forget(digest: Digest): void {
    asked.delete(digest);
    kept.forget(digest);
    const source = shared.get(digest);
    if (source) unshare(source);
  }

  function share(source: Source): void {
    const before = shared.get(source.digest);
    if (before && before.opening > source.opening) return;
    if (before) unshare(before);
    if (!source.file.bytes) files.add(source);
    for (const oldest of files) if (files.size > mostShared) unshare(oldest);
    source.isShared = true;
    shared.set(source.digest, source);
    stopTimer ??= clock.after(source.until - clock.monotonic(), sweep);
  }

  function sweep(): void {
    stopTimer = undefined;
    const now = clock.monotonic();
    let next = Number.POSITIVE_INFINITY;
    for (const source of shared.values()) {
      if (source.until <= now) unshare(source);
      else next = Math.min(next, source.until);
    }
    if (next < Number.POSITIVE_INFINITY) stopTimer = clock.after(next - now, sweep);
  }

  function lend(source: Source): OpenedBlob {
    const { digest, file, openedAt, opening } = source;
    const { size, bytes } = file;
    let isOpen = true;
    source.readers++;
    const failed = (error: unknown): never => {
      unshare(source);
      throw error;
    };
    const blob: FileBlob = {
      kind: 'file',
      size,
      read(into, position) {
        if (!isOpen) {
          return Promise.reject(new ProxyCacheError('storage-failed', `could not read ${digest}: it was closed`));
        }
        return file.read(into, position).then((length) => {
          // It has become shorter: whoever asks next gets what is there then.
          if (length < Math.min(into.byteLength, size - position)) unshare(source);
          return length;
        }, failed);
      },
      async close() {
        if (isOpen) source.readers--;
        isOpen = false;
        await letGo(source);
      },
    };
    return { digest, blob, ...(bytes && { bytes }), openedAt, opening };
  }

  function held(digest: Digest): OpenedBlob | undefined {
    const source = shared.get(digest);
    // A timer may be late.
    if (source && source.until > clock.monotonic()) return lend(source);
    return undefined;
  }

  /** The `close()` of what is never shared. */
  function passing(digest: Digest, blob: OpenBlob): OpenBlob['close'] {
    const leave = apart.enter(digest);
    return async () => {
      leave();
      await closed(digest, blob);
    };
  }

  async function ask(digest: Digest, { anew, ...options }: Asked): Promise<OpenedBlob | undefined> {
    const opened = { digest, openedAt: clock.now(), opening: ++openings };
    const until = clock.monotonic() + sharedForMs;
    const asking = asked.get(digest) ?? { times: 0 };
    asked.set(digest, asking);
    asking.times++;
    let isCurrent = false;
    let blob: MaybeKept | undefined;
    try {
      // What is looked at is what the store has.
      blob = await (anew ? blobs : kept).open(digest, options);
    } finally {
      asking.times--;
      isCurrent = asked.get(digest) === asking;
      if (isCurrent && asking.times === 0) asked.delete(digest);
    }
    if (!blob) return undefined;
    const given = blob;
    if (given.kind === 'stream') return { ...opened, blob: { ...given, close: passing(digest, given) } };
    const source: Source = { ...opened, file: given, until, readers: 0, isShared: false };
    const reader = lend(source);
    if (isCurrent && !isClosed && until > clock.monotonic()) share(source);
    if (!source.isShared) source.leaveApart = apart.enter(digest);
    return reader;
  }

  /** What was opened before it, or while it ran, may be what it ends. */
  async function changing<T>(digest: Digest, change: () => Promise<T>): Promise<T> {
    forget(digest);
    try {
      return await change();
    } finally {
      forget(digest);
    }
  }

  return {
    kept,
    held,
    isOpen: (digest) => (shared.get(digest)?.readers ?? 0) > 0 || apart.has(digest),
    async share(digest, options) {
      options.signal.throwIfAborted();
      return (options.anew ? undefined : held(digest)) ?? (await ask(digest, options));
    },
    async close() {
      isClosed = true;
      stopTimer?.();
      stopTimer = undefined;
      for (const source of shared.values()) unshare(source);
      await Promise.all([...ending, kept.close()]);
    },
    open: (digest, options) => blobs.open(digest, options),
    adopt: (blob) => changing(blob.digest, () => blobs.adopt(blob)),
    put: (blob) => changing(blob.digest, () => blobs.put(blob)),
    delete: (digest, options) => changing(digest, () => blobs.delete(digest, options)),
    quarantine: (digest, options) => changing(digest, () => blobs.quarantine(digest, options)),
    digests: (options) => blobs.digests(options),
  };
}
