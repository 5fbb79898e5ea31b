import type { Clock } from '../runtime/clock.ts';
import { abortable } from '../runtime/collapse.ts';
import { orLate } from '../runtime/or-late.ts';
import type { BlobStore } from './blob-store.ts';
import { type StoreEvent, storeFailed } from './events.ts';
import { renameFile, statFile, unlessMissing } from './file-system.ts';
import { createUploadTurns, type UploadTurns } from './upload-turns.ts';
import type { WaitingBlob, WaitingBlobs } from './waiting-blobs.ts';

/** Where a blob comes from. */
export interface TakenFrom {
  /** Where it was before it came here. */
  file: string;
  signal: AbortSignal;
  /** What the store said, if it was asked. */
  refusal?: { why: unknown } | undefined;
}

/** What brings blobs that wait into their store. */
export interface Uploads {
  turns: UploadTurns;
  /**
   * Until the store has a blob, or it waits. Where it does neither its file is put back.
   *
   * @throws what the store throws; the signal's reason
   */
  takeIn(blob: WaitingBlob, from: TakenFrom): Promise<void>;
  /** @param why what the store said, if it did */
  letWait(blob: WaitingBlob, why?: unknown): void;
  /** Ends: what runs, after `graceMs`. Never rejects. */
  close(graceMs: number): Promise<void>;
}

/** A store that is slower than this with a blob is not waited for. */
const slowAfterMs = 10_000;
const slowBytesPerMs = 20 * 1024;
/** Uploads that are so late: while there are as many, what comes waits for its turn. A store that hangs would get all of it at once. */
const mostSlow = 2;

export function createUploads(
  blobs: BlobStore,
  { waiting, clock, observe }: { waiting: WaitingBlobs; clock: Clock; observe(event: StoreEvent): void },
): Uploads {
  const turns = createUploadTurns({
    clock,
    begin() {
      const blob = waiting.next();
      return blob && upload(blob);
    },
  });

  const slow = new Set<WaitingBlob>();

  function upload(blob: WaitingBlob): Promise<void> {
    const running = store(blob).finally(() => {
      blob.upload = undefined;
      slow.delete(blob);
      waiting.queue(blob);
    });
    blob.upload = running;
    return running;
  }

  async function store(blob: WaitingBlob): Promise<void> {
    const { path: file, digest, size, waitsSince } = blob;
    const { signal } = blob.stop;
    // That somebody removed its file is no failure of the store.
    if (waitsSince !== undefined && (await isGone(file).catch(() => false))) return waiting.leave(blob);
    blob.wasTried = true;
    try {
      await turns.storing(() => blobs.adopt({ file, digest, size, signal }), signal);
    } catch (error) {
      // A store that was given up may have taken it after all, and what is not there cannot be tried again.
      if (!blob.hasLeft && (await isGone(file).catch(() => false))) waiting.leave(blob);
      throw error;
    }
    blob.isStored = true;
    waiting.leave(blob);
    const since = blob.waitsSince ?? waitsSince;
    if (since !== undefined) observe({ type: 'upload-done', digest, size, waitedMs: clock.monotonic() - since });
  }

  /** What becomes of a blob that the store refused. @throws why, where it cannot wait */
  async function refused(blob: WaitingBlob, { file, why }: { file: string; why: unknown }): Promise<void> {
    // It waits already, was deleted or has been replaced: nobody is to be told.
    if (blob.waitsSince !== undefined || blob.stop.signal.aborted) return;
    if (!blob.hasLeft && waiting.fits(blob.size)) return letWait(blob, why);
    const wasHere = !blob.hasLeft;
    waiting.leave(blob);
    if (wasHere) await renameFile(blob.path, file);
    throw why;
  }

  function letWait(blob: WaitingBlob, why?: unknown): void {
    if (why !== undefined) observe(storeFailed('adopt', blob.digest, why));
    waiting.wait(blob, why);
    turns.look();
  }

  async function takeIn(blob: WaitingBlob, { file, signal, refusal }: TakenFrom): Promise<void> {
    if (refusal) return await refused(blob, { file, why: refusal.why });
    const hasToWait = turns.isResting() || slow.size >= mostSlow;
    if (hasToWait && waiting.fits(blob.size)) return letWait(blob);
    const tried = upload(blob).catch((why) => refused(blob, { file, why }));
    const late = () => {
      if (blob.upload !== undefined) slow.add(blob);
      return waiting.fits(blob.size) ? letWait(blob) : tried;
    };
    const ms = slowAfterMs + blob.size / slowBytesPerMs;
    try {
      await abortable(orLate(tried, { clock, ms, late }), signal);
    } catch (error) {
      if (!signal.aborted) throw error;
      if (waiting.fits(blob.size)) return letWait(blob);
      blob.stop.abort(signal.reason);
      await blob.upload?.catch(() => undefined);
      if (blob.isStored) return;
      waiting.leave(blob);
      await renameFile(blob.path, file);
      throw error;
    }
  }

  return {
    turns,
    takeIn,
    letWait,
    async close(graceMs) {
      turns.close();
      const running = Promise.allSettled(waiting.all().map(({ upload }) => upload)).then(() => undefined);
      if (graceMs > 0) await orLate(running, { clock, ms: graceMs, late: () => undefined });
      for (const { stop } of waiting.all()) stop.abort(new Error('the cache is closed'));
      await running;
    },
  };
}

async function isGone(path: string): Promise<boolean> {
  return (await statFile(path).catch(unlessMissing)) === undefined;
}
