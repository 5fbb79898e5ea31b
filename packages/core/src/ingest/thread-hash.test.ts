import { once } from 'node:events';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { seededBytes } from '@proxycache/test-kit';
import fc from 'fast-check';
import { expect, it, onTestFinished } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import type { ContentHash } from './content-hash.ts';
import { serveHashes } from './serve-hashes.ts';
import { type SharedMemory, shareMemory } from './shared-bytes.ts';
import { createThreadHash } from './thread-hash.ts';

const MiB = 1024 * 1024;
const sha256 = digestOf(new Uint8Array());

/** A hash, and both ends of what it is told through. */
interface Ends {
  hash: ContentHash;
  near: MessagePort & { hasRef(): boolean };
  far: MessagePort;
}

/** The far end does nothing by itself. */
function channel(): Ends {
  const { port1, port2: far } = new MessageChannel();
  onTestFinished(() => port1.close());
  return { hash: createThreadHash(sha256, () => port1), near: port1 as Ends['near'], far };
}

function served(): Ends {
  const ends = channel();
  serveHashes(ends.far);
  return ends;
}

/** Bytes in memory that threads share, and whether nobody holds it any more. */
function shared(content: Uint8Array): { bytes: Uint8Array; memory: SharedMemory; isFree(): boolean } {
  const bytes = Buffer.from(new SharedArrayBuffer(content.byteLength));
  bytes.set(content);
  let isFree = false;
  const memory = shareMemory(() => {
    isFree = true;
  });
  return { bytes, memory, isFree: () => isFree };
}

it('is the hash of what it was given, in whatever pieces, shared or not, with copies on the way', async () => {
  const piece = fc.record({ bytes: fc.uint8Array({ maxLength: 300 }), isShared: fc.boolean(), copies: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 20 }), async (pieces) => {
      const { hash } = served();
      const copies: { hash: ContentHash; length: number }[] = [];
      let length = 0;
      for (const { bytes, isShared, copies: isCopied } of pieces) {
        if (isShared) {
          const { bytes: here, memory } = shared(bytes);
          hash.update(here, memory);
        } else hash.update(bytes);
        length += bytes.byteLength;
        if (isCopied) copies.push({ hash: hash.copy(), length });
      }
      const all = Buffer.concat(pieces.map(({ bytes }) => bytes));
      for (const copy of copies) expect(await copy.hash.digest()).toBe(digestOf(all.subarray(0, copy.length)));
      expect(await hash.digest()).toBe(digestOf(all));
    }),
    { numRuns: 50 },
  );
});

it('holds shared memory until the thread has looked at it', async () => {
  const { hash, far } = channel();
  const given = shared(Buffer.from('content'));
  hash.update(given.bytes, given.memory);
  given.memory.letGo();
  expect(given.isFree()).toBe(false);
  serveHashes(far);
  expect(await hash.digest()).toBe(digestOf(Buffer.from('content')));
  expect(given.isFree()).toBe(true);
});

it('takes a copy of what is not shared, which its owner may write to at once', async () => {
  const { hash } = served();
  const bytes = Buffer.from('content');
  hash.update(bytes);
  bytes.fill(0);
  expect(await hash.digest()).toBe(digestOf(Buffer.from('content')));
});

it('makes who gives wait while much was not looked at, and no longer', async () => {
  const { hash, far } = channel();
  const bytes = seededBytes('much', 5 * MiB);
  for (let at = 0; at < 2 * MiB; at += MiB) hash.update(bytes.subarray(at, at + MiB));
  expect(hash.ready()).toBeUndefined();
  hash.update(bytes.subarray(2 * MiB));
  const ready = hash.ready();
  expect(ready).toBeInstanceOf(Promise);
  serveHashes(far);
  await ready;
  expect(hash.ready()).toBeUndefined();
  expect(await hash.digest()).toBe(digestOf(bytes));
});

it('closes its port with the last of the hash and its copies, whichever that is', async () => {
  const { hash, far } = served();
  const [first, second] = [hash.copy(), hash.copy()];
  const closed = once(far, 'close');
  first.free();
  first.free();
  await hash.digest();
  hash.free();
  second.update(Buffer.from('on'));
  expect(await second.digest()).toBe(digestOf(Buffer.from('on')));
  await closed;
});

it('lets go of memory at once when it is used no more', async () => {
  const { hash, near } = channel();
  const given = shared(seededBytes('given', 2 * MiB));
  hash.update(given.bytes, given.memory);
  given.memory.letGo();
  expect(given.isFree()).toBe(false);
  const closed = once(near, 'close');
  hash.free();
  await closed;
  expect(given.isFree()).toBe(true);
});

it('asks for no thread before there are 2 MiB to look at, and for none where it is used no more by then', async () => {
  const { port1, port2 } = new MessageChannel();
  serveHashes(port2);
  let opened = 0;
  const open = () => {
    opened++;
    return port1;
  };
  const given = shared(seededBytes('given', 2 * MiB - 1));
  const unused = createThreadHash(sha256, open);
  unused.update(given.bytes, given.memory);
  given.memory.letGo();
  unused.copy().free();
  unused.free();
  expect(given.isFree()).toBe(true);

  const hash = createThreadHash(sha256, open);
  hash.update(given.bytes);
  const copy = hash.copy();
  expect(opened).toBe(0);
  hash.update(Buffer.from('1'));
  const other = hash.copy();
  expect(opened).toBe(1);
  expect(await copy.digest()).toBe(digestOf(given.bytes));
  expect(await other.digest()).toBe(digestOf(Buffer.concat([given.bytes, Buffer.from('1')])));
  hash.free();
});

it('fails as where the thread has ended when there turns out to be none', async () => {
  const hash = createThreadHash(sha256, () => undefined);
  const given = shared(seededBytes('given', 2 * MiB));
  const copy = hash.copy();
  hash.update(given.bytes, given.memory);
  given.memory.letGo();
  await expect(copy.ready()).rejects.toThrow('has ended');
  await expect(hash.digest()).rejects.toThrow('has ended');
  expect(given.isFree()).toBe(true);
  await expect(copy.digest()).rejects.toThrow('has ended');
});

it('fails when the thread ends: its digest, whoever waits, and all that comes later', async () => {
  const { hash, near, far } = channel();
  const given = shared(seededBytes('lost', 5 * MiB));
  hash.update(given.bytes, given.memory);
  given.memory.letGo();
  const copy = hash.copy();
  const failing = [hash.ready(), hash.digest()].map((promise) => expect(promise).rejects.toThrow('has ended'));
  far.close();
  await Promise.all(failing);
  expect(given.isFree()).toBe(true);
  copy.update(given.bytes, given.memory);
  await expect(copy.ready()).rejects.toThrow('has ended');
  await expect(copy.copy().digest()).rejects.toThrow('has ended');
  expect(near.hasRef()).toBe(false);
});

it('keeps the process alive while it is waited for, and only then', async () => {
  const { hash, near, far } = channel();
  expect(near.hasRef()).toBe(false);
  const digest = hash.copy().digest();
  expect(near.hasRef()).toBe(true);
  serveHashes(far);
  await digest;
  expect(near.hasRef()).toBe(false);
  hash.free();
});

it('frees what nobody refers to any more', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const { port1, port2 } = new MessageChannel();
  serveHashes(port2);
  const closed = once(port2, 'close');
  (() => {
    const hash = createThreadHash(sha256, () => port1);
    hash.update(seededBytes('begun', 2 * MiB));
    hash.copy();
  })();
  const collecting = setInterval(collect, 5);
  await closed;
  clearInterval(collecting);
});

it('had a blob wait for a thread that nobody had asked for, when its pieces came to just over the limit', async () => {
  for (const size of [100, 412, 700, 1000].map((kibibytes) => kibibytes * 1024 + 11)) {
    const { hash, far } = served();
    let length = 0;
    for (; !hash.ready() && length < 16 * MiB; length += size) hash.update(seededBytes('piece', size));
    expect(length).toBeLessThan(16 * MiB);
    await hash.ready();
    hash.free();
    far.close();
  }
});
