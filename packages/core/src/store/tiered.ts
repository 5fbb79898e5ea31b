import { type Digest, parseDigest } from '../oci/digest.ts';
import type { ByteRange } from '../runtime/byte-range.ts';
import { type Clock, systemClock } from '../runtime/clock.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { expectClock, expectKnown, expectMethod, expectObject } from '../runtime/expect-option.ts';
import type { BlobStore, OpenBlob } from './blob-store.ts';
import { createFarReader } from './far-reader.ts';
import type { Fill } from './fill.ts';
import { createFills } from './fills.ts';
import { createKeyedLock } from './keyed-lock.ts';
import type { FileBlobs } from './local-blobs.ts';
import { createLocalCopies } from './local-copies.ts';
import { quarantineTiers } from './quarantine-tiers.ts';
import { createStoreDeadline } from './store-deadline.ts';
import { timelyBlobs } from './timely-blobs.ts';
import { upkeepOf, withUpkeep } from './upkeep.ts';

/** What {@link tiered} joins. */
export interface Tiers {
  /** Blobs that are used, on a disk of this process: `fileBlobs(directory, { maxBytes })`. */
  local: FileBlobs;
  /** All blobs. */
  remote: BlobStore;
  /** Default: the machine's clock. */
  clock?: Clock;
}

/** A disk that does not answer so soon is not waited for: the remote store has all. */
const localWithinMs = 1_000;

/**
 * A blob store before another: what is used is read from `local`, all else from `remote`, which has all. A blob that is read from
 * its beginning is filled in beside, once for all who read it then, and is local when its digest was found right. What the
 * local store cannot do costs nothing but that; what is local is read while the remote one is away.
 *
 * @throws ProxyCacheError `invalid-options`
 */
export function tiered(tiers: Tiers): BlobStore {
  checkTiers(tiers);
  const { local, remote, clock = systemClock } = tiers;
  const near: FileBlobs = {
    ...timelyBlobs(local, createStoreDeadline(clock, localWithinMs)),
    takes: (size) => local.takes(size),
    newPath: () => local.newPath(),
  };
  const copies = createLocalCopies(near);
  // What is deleted must not come back by a fill, or a copy, that began before.
  const lock = createKeyedLock();
  const fills = createFills(
    { ...near, adopt: (blob) => lock(blob.digest, blob.signal, () => ifWanted(blob.digest, () => near.adopt(blob))) },
    clock,
  );

  async function ifWanted(digest: Digest, adopt: () => Promise<void>): Promise<void> {
    if (fills.get(digest)?.isCancelled()) throw new Error(`${digest} was deleted`);
    await adopt();
  }

  async function openNear(digest: Digest, options: Opening): Promise<OpenBlob | undefined> {
    const { signal } = options;
    try {
      return await near.open(digest, options);
    } catch {
      signal.throwIfAborted();
      return undefined;
    }
  }

  /** @throws ProxyCacheError `storage-failed` where it is not there any more, what the store throws */
  async function openFar(digest: Digest, range: ByteRange): Promise<OpenBlob> {
    const blob = await remote.open(digest, { range, signal: new AbortController().signal });
    if (blob) return blob;
    throw new ProxyCacheError('storage-failed', `${digest} has left the store`);
  }

  /** Read where it is here, else from the remote store, at each position anew. */
  function readable(digest: Digest, size: number, here: Here): OpenBlob {
    const far = createFarReader((range) => openFar(digest, range), { size, clock });
    let closing: Promise<void> | undefined;
    return {
      kind: 'file',
      size,
      async read(into, position) {
        if (closing !== undefined)
          throw new ProxyCacheError('storage-failed', `could not read ${digest}: it was closed`);
        const part = into.subarray(0, Math.max(Math.min(into.byteLength, size - position), 0));
        if (part.byteLength === 0) return 0;
        return (await here.read(part, position)) || (await far.read(part, position));
      },
      close() {
        closing ??= Promise.all([here.close(), far.close()]).then(() => undefined);
        return closing;
      },
    };
  }

  function localBlob(digest: Digest, opened: Extract<OpenBlob, { kind: 'file' }>): OpenBlob {
    let isSound = true;
    return readable(digest, opened.size, {
      async read(part, position) {
        if (!isSound) return undefined;
        const length = await opened.read(part, position).catch(() => undefined);
        isSound = length === part.byteLength;
        // It is filled anew by the next who reads it.
        if (!isSound) void near.delete(digest, { signal: new AbortController().signal }).catch(() => undefined);
        return isSound ? length : undefined;
      },
      close: () => opened.close(),
    });
  }

  /** @param opened all of it, of the remote store; none: somebody fills it in just now */
  function comingBlob(digest: Digest, size: number, opened?: OpenBlob): OpenBlob {
    let unread = opened;
    let fill: Fill | undefined;
    let letGo: (() => Promise<void>) | undefined;
    return readable(digest, size, {
      async read(part, position) {
        if (!fill) {
          fill = fills.get(digest);
          // Who reads a part in the middle does not want all of it.
          if (unread && (fill || (position === 0 && fills.mayBegin(size)))) {
            fill = fills.begin(digest, unread);
            unread = undefined;
          }
          letGo = fill?.hold();
        }
        return await fill?.read(part, position);
      },
      async close() {
        await Promise.all([unread?.close(), letGo?.()]);
      },
    });
  }

  async function adoptBoth(blob: Parameters<BlobStore['adopt']>[0]): Promise<void> {
    const copy = await copies.begin(blob);
    await remote.adopt(blob).catch(async (error) => {
      await copy.drop();
      throw error;
    });
    await copy.keep();
  }

  async function deleted(digest: Digest, options: Ending): Promise<boolean> {
    const { signal } = options;
    let failure: { error: unknown } | undefined;
    const there = await remote.delete(digest, options).catch((error) => {
      failure = { error };
      return false;
    });
    signal.throwIfAborted();
    if (there) fills.get(digest)?.cancel();
    // A copy may be younger than what it is a copy of.
    const here = await near.delete(digest, there ? { signal } : options);
    if (failure) throw failure.error;
    // By its own instants the remote store may have spared it: a copy that went is no blob that did.
    const mayBeSpared = options.unlessStoredAfter !== undefined;
    return there || (here && !mayBeSpared);
  }

  /** What is kept for good, with the copy of it that is here. */
  async function openBoth(digest: Digest, options: Opening): Promise<OpenBlob | undefined> {
    const there = await remote.open(digest, options);
    if (!there) return undefined;
    try {
      const here = await openNear(digest, { forScrub: true, signal: options.signal });
      return here ? withCopy(there, here) : there;
    } catch (error) {
      await there.close();
      throw error;
    }
  }

  const store: BlobStore = {
    async open(digest, { signal, ...options }) {
      if (options.forScrub) return await openBoth(digest, { ...options, signal });
      const here = await openNear(digest, { signal });
      if (here?.kind === 'file') return localBlob(digest, here);
      const running = fills.get(digest);
      if (running && !running.isCancelled()) return comingBlob(digest, running.size);
      const there = await remote.open(digest, { ...options, signal });
      if (!there || options.range || !fills.mayBegin(there.size)) return there;
      // Clients are sent to the remote store itself.
      if (there.kind === 'stream' && there.elsewhere) return there;
      return comingBlob(digest, there.size, there);
    },
    async adopt(blob) {
      blob.signal.throwIfAborted();
      parseDigest(blob.digest);
      await lock(blob.digest, blob.signal, () => adoptBoth(blob));
    },
    put: (blob) =>
      lock(blob.digest, blob.signal, async () => {
        await remote.put(blob);
        await copies.put(blob);
      }),
    delete: (digest, options) => lock(digest, options.signal, () => deleted(digest, options)),
    quarantine(digest, options) {
      const both = { local: near, remote, ended: () => fills.get(digest)?.cancel() };
      return lock(digest, options.signal, () => quarantineTiers(both, digest, options));
    },
    digests: (options) => remote.digests(options),
  };
  return withUpkeep(store, upkeepOf(local, remote));
}

function checkTiers(tiers: Tiers): void {
  expectObject('tiered: tiers', tiers);
  expectKnown('tiered: tiers', tiers, ['local', 'remote', 'clock']);
  for (const name of ['local', 'remote'] as const) {
    expectObject(`tiered: ${name}`, tiers[name]);
    for (const method of ['adopt', 'open', 'delete']) expectMethod(`tiered: ${name}`, tiers[name], method);
  }
  for (const method of ['newPath', 'takes']) expectMethod('tiered: local', tiers.local, method);
  expectClock('tiered: clock', tiers.clock);
}

/** What of a blob is here. */
interface Here {
  /** Fills the part, or some of it; 0 or `undefined`: it cannot be read here now. */
  read(part: Uint8Array, position: number): Promise<number | undefined>;
  close(): Promise<void>;
}

/** The same, with a copy of it that is closed with it. */
function withCopy(blob: OpenBlob, copy: OpenBlob): OpenBlob {
  const copies = [...(blob.copies ?? []), copy];
  const close = async () => void (await Promise.all([blob.close(), copy.close()]));
  const { size } = blob;
  if (blob.kind === 'file')
    return { kind: 'file', size, read: (into, position) => blob.read(into, position), copies, close };
  const { body, elsewhere } = blob;
  return { kind: 'stream', size, body, ...(elsewhere && { elsewhere }), copies, close };
}

type Opening = Parameters<BlobStore['open']>[1];
type Ending = Parameters<BlobStore['delete']>[1];
