import type { Digest } from '../oci/digest.ts';
import { createBuffers } from '../runtime/buffers.ts';
import type { Bytes } from '../runtime/bytes.ts';
import type { Clock } from '../runtime/clock.ts';
import { readOpenFile } from '../runtime/read-range.ts';
import type { OpenBlob } from './blob-store.ts';
import { createFill, type Fill } from './fill.ts';
import type { FileBlobs } from './local-blobs.ts';
import { createStoreDeadline } from './store-deadline.ts';

/** The fills of a local store: one for each blob. */
export interface Fills {
  get(digest: Digest): Fill | undefined;
  /** Whether one of that size may begin: those that run lie beside what is kept, and are bounded as that is. */
  mayBegin(size: number): boolean;
  /** Begins one, or joins the one that runs; `opened` is closed in either case. */
  begin(digest: Digest, opened: OpenBlob): Fill;
}

const mostAtOnce = 32;

/** A store that gives nothing for so long is not waited for. */
const stillMs = 10_000;

const bufferBytes = 1024 * 1024;

/** @param local takes what came: its `adopt` may refuse it */
export function createFills(local: Pick<FileBlobs, 'adopt' | 'newPath' | 'takes'>, clock: Clock): Fills {
  const fills = new Map<Digest, Fill>();
  const buffers = createBuffers(bufferBytes);
  const deadline = createStoreDeadline(clock, stillMs);

  /** A body that stands still fails; it is closed with whoever reads it. */
  function moving(body: Bytes): Bytes {
    const source = body[Symbol.asyncIterator]();
    const iterator: AsyncIterator<Uint8Array, undefined> = {
      next: () => deadline.run({ operation: 'fill', rests: false }, () => source.next()),
      async return() {
        await deadline.run({ operation: 'close', rests: false }, async () => source.return?.());
        return { done: true, value: undefined };
      },
    };
    return { [Symbol.asyncIterator]: () => iterator };
  }

  const runningBytes = () => [...fills.values()].reduce((sum, { size }) => sum + size, 0);

  function close(opened: OpenBlob): void {
    void opened.close().catch(() => undefined);
  }

  return {
    get: (digest) => fills.get(digest),
    mayBegin: (size) => size > 0 && fills.size < mostAtOnce && local.takes(runningBytes() + size),
    begin(digest, opened) {
      const running = fills.get(digest);
      if (running) {
        close(opened);
        return running;
      }
      const { size } = opened;
      const file = local.newPath();
      const body = opened.kind === 'stream' ? opened.body : readOpenFile(opened, { from: 0, to: size - 1 }, buffers);
      const adopt = () => local.adopt({ file, digest, size, signal: new AbortController().signal });
      const fill = createFill({ digest, size, body: moving(body), file, adopt, clock });
      fills.set(digest, fill);
      void fill.ended.then(() => {
        if (fills.get(digest) === fill) fills.delete(digest);
        close(opened);
      });
      return fill;
    },
  };
}
