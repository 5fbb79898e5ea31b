import type { FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Bytes } from '../runtime/bytes.ts';
import { type Clock, systemClock } from '../runtime/clock.ts';
import type { Slabs } from '../runtime/slabs.ts';
import { takenBytes } from '../runtime/taken-bytes.ts';
import { createStoreDeadline, type StoreDeadline } from '../store/store-deadline.ts';
import { UpstreamError } from '../upstream/upstream-error.ts';
import type { LeaderSource } from './leader.ts';
import { isSameFile, statePathOf } from './spool-state.ts';
import { openToRead, type SpoolWatch, watchSpool } from './spool-watch.ts';

/** As long as a disk may take that answers at all. */
const diskWithinMs = 3_000;

/** `<owner>/<cache>/<file>`: what another process names must not lead out of the folder. */
const spoolName = /^[A-Za-z0-9_-][A-Za-z0-9._~-]*\/cache-[A-Za-z0-9]+\/\d+$/;

/**
 * Reads what a leader brings in from the spool folder that it shares with this process. A leader whose files are not
 * there, or not this user's to read, cannot be read so.
 *
 * @param parts.directory the spool folder
 * @param parts.diskClock what a call of the disk is timed by. Default: the machine's clock
 */
export function spoolSource(parts: { directory: string; clock: Clock; diskClock?: Clock; slabs: Slabs }): LeaderSource {
  const { directory, clock, diskClock = systemClock, slabs } = parts;
  const disk = createStoreDeadline(diskClock, diskWithinMs);

  return {
    async open({ spool = '' }, wanted) {
      if (!spoolName.test(spool)) return undefined;
      const path = join(directory, spool);
      const watch = await watchSpool(statePathOf(path), { wanted, clock, disk });
      if (!watch) return undefined;
      try {
        while (watch.state().phase === 'asking') await watch.look(wanted.signal);
        const { file, total, phase } = watch.state();
        const handle = await openToRead(join(dirname(path), file), disk);
        if (!handle && phase === 'queued') {
          await watch.close();
          return undefined;
        }
        // It was adopted, or starts anew.
        if (!handle) throw watch.broke('has moved its file');
        const body = bodyOf(handle, watch, { from: wanted.from, signal: wanted.signal, disk, slabs });
        return { start: wanted.from, ...(total !== undefined && { total }), body };
      } catch (error) {
        await watch.close();
        throw error;
      }
    },
  };
}

/** Reads a spool file from a byte on, as it grows. */
function bodyOf(
  handle: FileHandle,
  { state, look, broke, close }: SpoolWatch,
  { from, signal, disk, slabs }: { from: number; signal: AbortSignal; disk: StoreDeadline; slabs: Slabs },
): Bytes {
  const { file } = state();
  const left = new AbortController();
  const ending = AbortSignal.any([signal, left.signal]);
  let position = from;

  async function take(): Promise<Uint8Array | undefined> {
    for (;;) {
      ending.throwIfAborted();
      const { written, total, phase, file: current } = state();
      if (!isSameFile(current, file)) throw broke('starts anew');
      if (position < written) return await read(written);
      if (phase === 'verified' || phase === 'queued' || position >= (total ?? Number.POSITIVE_INFINITY))
        return undefined;
      await look(ending);
    }
  }

  async function read(end: number): Promise<Uint8Array> {
    // It comes back by whoever the bytes are given to; where reading fails, it may still be written to.
    const memory = slabs.take();
    const at = position;
    const length = Math.min(end - at, memory.byteLength);
    const { bytesRead } = await disk.run({ operation: 'spool read', rests: false }, () =>
      handle.read(memory, 0, length, at),
    );
    if (bytesRead === 0) throw broke(`has only ${at} bytes in its file`);
    position += bytesRead;
    return memory.subarray(0, bytesRead);
  }

  /** @throws UpstreamError, so that whoever reads goes on elsewhere; the signal's reason */
  async function takeOrBreak(): Promise<Uint8Array | undefined> {
    try {
      return await take();
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof UpstreamError ? error : broke(`cannot be read: ${(error as Error).message}`);
    }
  }

  return takenBytes(takeOrBreak, {
    left,
    close: () => Promise.all([close(), handle.close().catch(() => undefined)]),
  });
}
