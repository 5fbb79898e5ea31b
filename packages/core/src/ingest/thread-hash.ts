import type { MessagePort } from 'node:worker_threads';
import type { Digest } from '../oci/digest.ts';
import { createDeferred, type Deferred } from '../runtime/deferred.ts';
import type { Threads } from '../runtime/threads.ts';
import type { ContentHash } from './content-hash.ts';
import type { HashReply, HashRequest } from './serve-hashes.ts';
import type { SharedMemory } from './shared-bytes.ts';

// Some milliseconds of a thread's work: more would only hide that it is behind.
const mostUnread = 2 * 1024 * 1024;

// Given at once: each message wakes the thread, and its answer this one.
const leastGiven = 1024 * 1024;

// So much is here before a thread is asked for: to start one takes this thread milliseconds, and the machine tens of them,
// which are not to be those in which somebody waits for the first bytes of this blob, or of the others of its image.
const leastToBegin = 2 * 1024 * 1024;

/** What a thread has not looked at yet. */
interface Unread {
  hash: number;
  bytes: number;
  pieces: Uint8Array[];
  /** Of the pieces that are shared. */
  memory: SharedMemory[];
  /** The other pieces'. */
  copies: ArrayBuffer[];
}

/** Hashes that are each worked out by one of the threads; none where there can be no thread. */
export function threadHashes(threads: Threads): (digest: Digest) => ContentHash | undefined {
  return (digest) => (threads.canOpen() ? createThreadHash(digest, () => threads.open('hash', undefined)) : undefined);
}

/**
 * A hash that is worked out by {@link serveHashes} at the other end of a port, and with it all copies. The port is closed
 * when nobody uses one of them any more, and keeps the process alive only while one is waited for.
 *
 * Bytes in memory that threads share are looked at where they are, all others are copied.
 *
 * @param open gives the port, when there is enough to look at, or the digest is wanted. `undefined`: nothing can work it out
 */
export function createThreadHash(digest: Digest, open: () => MessagePort | undefined): ContentHash {
  // What is asked before the port is needed.
  let early: HashRequest[] | undefined = [];
  let port: MessagePort | undefined;
  const unread: Unread[] = [];
  let gathered: Unread | undefined;
  let unreadBytes = 0;
  let made = 0;
  let used = 0;
  let isOver = false;
  const digests = new Map<number, Deferred<Digest>>();
  let waiting: Deferred<void> | undefined;
  // Of those who go on alone, nobody knows whether they ever begin.
  const forgotten = new FinalizationRegistry<() => void>((drop) => drop());

  function ask(request: HashRequest): void {
    give();
    post(request);
  }

  function post(request: HashRequest, copies: ArrayBuffer[] = []): void {
    if (early) early.push(request);
    else if (!isOver) port?.postMessage(request, copies);
  }

  /** Begins, where it has not. */
  function begin(): void {
    if (!early || isOver) return;
    const asked = early;
    early = undefined;
    port = open();
    if (!port) {
      over();
      return;
    }
    port.on('message', replied);
    port.on('close', over);
    port.unref();
    for (const request of asked) port.postMessage(request);
  }

  function gather(hash: number, bytes: Uint8Array, memory: SharedMemory | undefined): void {
    if (gathered?.hash !== hash) give();
    gathered ??= { hash, bytes: 0, pieces: [], memory: [], copies: [] };
    unreadBytes += bytes.byteLength;
    gathered.bytes += bytes.byteLength;
    if (memory && bytes.buffer instanceof SharedArrayBuffer) {
      memory.hold();
      gathered.memory.push(memory);
      gathered.pieces.push(bytes);
    } else {
      const copy = new Uint8Array(bytes);
      gathered.copies.push(copy.buffer);
      gathered.pieces.push(copy);
    }
    if (gathered.bytes >= leastGiven) give();
  }

  function give(): void {
    if (!gathered) return;
    const { hash, pieces, copies } = gathered;
    unread.push(gathered);
    gathered = undefined;
    post({ what: 'update', hash, pieces }, copies);
    if (unreadBytes >= leastToBegin) begin();
  }

  function replied(reply: HashReply): void {
    if (reply === 'updated') lookedAt();
    else {
      digests.get(reply.hash)?.resolve(reply.digest);
      digests.delete(reply.hash);
      relax();
    }
  }

  function lookedAt(): void {
    const { bytes, memory } = unread.shift() as Unread;
    unreadBytes -= bytes;
    letGo(memory);
    if (waiting && unreadBytes <= mostUnread) {
      waiting.resolve();
      waiting = undefined;
      relax();
    }
  }

  /** Where the thread goes on with what nobody waits for any more, it looks at memory that may be another's by now. */
  function over(): void {
    if (isOver) return;
    isOver = true;
    if (gathered) unread.push(gathered);
    gathered = undefined;
    for (const { memory } of unread.splice(0)) letGo(memory);
    for (const pending of [waiting, ...digests.values()]) pending?.reject(ended());
  }

  /** Somebody waits: the process has something to do. */
  function awaited<T>(pending: Deferred<T>): Promise<T> {
    port?.ref();
    return pending.promise;
  }

  function relax(): void {
    if (!waiting && digests.size === 0) port?.unref();
  }

  function hashOf(hash: number): ContentHash {
    let isFree = false;
    let isEnding = false;
    const drop = () => {
      if (isFree) return;
      isFree = true;
      used--;
      if (used > 0) return;
      if (port) port.close();
      else over();
    };
    const free = () => {
      // Its digest was the end of it there.
      if (!isFree && !isEnding) ask({ what: 'free', hash });
      drop();
    };
    used++;
    const self: ContentHash = {
      update(bytes, memory) {
        if (!isOver && bytes.byteLength > 0) gather(hash, bytes, memory);
      },
      ready() {
        if (isOver) return Promise.reject(ended());
        if (unreadBytes <= mostUnread) return undefined;
        // Nobody waits for a thread that was not asked for.
        begin();
        if (isOver) return Promise.reject(ended());
        waiting ??= createDeferred<void>();
        return awaited(waiting);
      },
      copy() {
        made++;
        ask({ what: 'copy', hash, to: made });
        return hashOf(made);
      },
      async digest() {
        if (isOver) throw ended();
        const pending = createDeferred<Digest>();
        digests.set(hash, pending);
        isEnding = true;
        ask({ what: 'digest', hash });
        begin();
        try {
          return await awaited(pending);
        } finally {
          drop();
        }
      },
      free,
    };
    forgotten.register(self, free);
    return self;
  }

  ask({ what: 'create', hash: made, digest });
  return hashOf(made);
}

function letGo(memory: readonly SharedMemory[]): void {
  for (const one of memory) one.letGo();
}

const ended = () => new Error('the thread that worked out the hash has ended');
