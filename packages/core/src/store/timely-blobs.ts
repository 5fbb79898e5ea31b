import type { Bytes } from '../runtime/bytes.ts';
import type { BlobStore, OpenBlob, StoredBlob } from './blob-store.ts';
import type { StoreDeadline } from './store-deadline.ts';

const slowestBytesPerMs = 1024;
const adoptBaseMs = 60_000;
/** One that is given up begins anew, and would never end where the way to the store is slower than that. */
const slowestUploadBytesPerMs = 32;
const quarantineBaseMs = 3_000;
const listWithinMs = 60_000;

/** Opens by `work` within the deadline, and so is what it opens read. What was opened too late for its caller is closed. */
export async function openInTime(
  work: (signal: AbortSignal) => Promise<OpenBlob | undefined>,
  deadline: StoreDeadline,
  signal: AbortSignal,
): Promise<OpenBlob | undefined> {
  const late = (blob: OpenBlob | undefined) => void blob?.close().catch(() => undefined);
  const blob = await deadline.run({ operation: 'open', signal, late }, (given) => work(given.signal));
  return blob && timelyBlob(blob, deadline, signal);
}

function timelyBlob(blob: OpenBlob, deadline: StoreDeadline, signal: AbortSignal): OpenBlob {
  const copies = blob.copies && { copies: blob.copies.map((copy) => timelyBlob(copy, deadline, signal)) };
  const close = () => deadline.run({ operation: 'close', rests: false }, () => blob.close());
  if (blob.kind === 'stream') {
    const { elsewhere } = blob;
    const url = () => deadline.run({ operation: 'locate', signal, rests: false }, async () => elsewhere?.url() ?? '');
    const body = timelyBytes(blob.body, deadline, signal);
    return { kind: 'stream', size: blob.size, body, ...(elsewhere && { elsewhere: { url } }), ...copies, close };
  }
  return {
    kind: 'file',
    size: blob.size,
    // One file that hangs says nothing about the others.
    read: (into, position) => deadline.run({ operation: 'read', rests: false }, () => blob.read(into, position)),
    ...copies,
    close,
  };
}

function timelyBytes(body: Bytes, deadline: StoreDeadline, signal: AbortSignal): Bytes {
  const source = body[Symbol.asyncIterator]();
  const iterator: AsyncIterator<Uint8Array> = {
    next: () => deadline.run({ operation: 'read', signal, rests: false }, () => source.next()),
    async return() {
      await deadline.run({ operation: 'close', rests: false }, async () => source.return?.());
      return { done: true, value: undefined };
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}

/** The same blobs, each call bounded in time. */
export function timelyBlobs(blobs: BlobStore, deadline: StoreDeadline): BlobStore {
  function timelyListing(blobs: AsyncIterable<StoredBlob>, signal: AbortSignal): AsyncIterable<StoredBlob> {
    return {
      [Symbol.asyncIterator]() {
        const source = blobs[Symbol.asyncIterator]();
        return {
          // Never on a request's path; the first of them may take a look at all names.
          next: () =>
            deadline.run({ operation: 'list', signal, withinMs: listWithinMs, rests: false }, () => source.next()),
          async return() {
            await deadline.run({ operation: 'list', rests: false }, async () => source.return?.());
            return { done: true, value: undefined };
          },
        };
      },
    };
  }

  return {
    open: (digest, { signal, ...options }) =>
      openInTime((given) => blobs.open(digest, { ...options, signal: given }), deadline, signal),
    adopt: ({ signal, ...blob }) =>
      // Nobody waits for it, and it may be an upload of any size: only one that makes no headway is given up.
      deadline.run(
        { operation: 'adopt', signal, withinMs: adoptBaseMs + blob.size / slowestUploadBytesPerMs, rests: false },
        (given) => blobs.adopt({ ...blob, signal: given.signal }),
      ),
    put: ({ signal, ...blob }) =>
      deadline.run({ operation: 'put', signal }, (given) => blobs.put({ ...blob, signal: given.signal })),
    delete: (digest, { signal, ...options }) =>
      deadline.run({ operation: 'delete', signal }, (given) =>
        blobs.delete(digest, { ...options, signal: given.signal }),
      ),
    quarantine: (digest, { signal, ...options }) =>
      // A store may have to copy it.
      deadline.run(
        {
          operation: 'quarantine',
          signal,
          withinMs: quarantineBaseMs + Math.ceil((options.size ?? 0) / slowestBytesPerMs),
        },
        (given) => blobs.quarantine(digest, { ...options, signal: given.signal }),
      ),
    digests: (options) => timelyListing(blobs.digests(options), options.signal),
  };
}
