import { createBuffers } from '../runtime/buffers.ts';
import type { Clock } from '../runtime/clock.ts';
import { pause } from '../runtime/pause.ts';
import { confirmWrong } from './confirm-wrong.ts';
import { type StoreEvent, storeFailed } from './events.ts';
import { openFileBlob } from './file-open.ts';
import { removeFile } from './file-system.ts';
import { isIntact } from './is-intact.ts';
import type { WaitingBlob, WaitingBlobs } from './waiting-blobs.ts';
import type { WaitingFolder } from './waiting-folder.ts';

/** Blobs that processes which are gone have left; see {@link createLeftBlobs}. */
export interface LeftBlobs {
  /** Takes over what there is now. Never rejects. */
  takeOver(): Promise<void>;
  /** Whether its bytes are right; one that waited to be looked at is, at once. Never rejects. */
  isRight(blob: WaitingBlob): Promise<boolean>;
  /** Ends what runs. */
  close(): Promise<void>;
}

/** What {@link createLeftBlobs} works with. */
export interface LeftBlobsParts {
  folder: WaitingFolder;
  waiting: WaitingBlobs;
  /** Something waits. */
  look(): void;
  clock: Clock;
  observe(event: StoreEvent): void;
}

/** Beside what is served by the same thread, which hashes some five times as many. */
const checkedBytesPerMs = 100 * 1024;

const pieceBytes = 1024 * 1024;

/**
 * Takes over what was left, and looks at each blob before it counts as stored: a loss of power may have torn what a
 * process that died had verified (SEMANTICS 39). What is wrong is removed; what cannot be read stays for the next start.
 */
export function createLeftBlobs({ folder, waiting, look, clock, observe }: LeftBlobsParts): LeftBlobs {
  const buffers = createBuffers(pieceBytes);
  const closing = new AbortController();
  const { signal } = closing;
  const checks = new Map<WaitingBlob, Promise<boolean>>();
  /** Those that somebody waits for. */
  const hurried = new Set<WaitingBlob>();
  let checked: Promise<void> = Promise.resolve();

  async function readWhole(blob: WaitingBlob): Promise<boolean | undefined> {
    const opened = await openFileBlob(blob.path, signal);
    if (!opened) return undefined;
    try {
      const pace = async (bytes: number) => {
        if (bytes >= pieceBytes && !hurried.has(blob)) await pause(bytes / checkedBytesPerMs, clock, signal);
      };
      return await isIntact(opened, blob.digest, { buffers, signal, pace });
    } finally {
      await opened.close();
    }
  }

  async function check(blob: WaitingBlob): Promise<boolean> {
    try {
      const right = await confirmWrong(() => readWhole(blob));
      if (right && !blob.hasLeft) {
        blob.isRight = true;
        waiting.wait(blob);
        look();
        return true;
      }
      await waiting.discard(blob);
      if (right === false) throw new Error('what another process left of it is wrong, and was removed');
    } catch (error) {
      waiting.leave(blob);
      if (!signal.aborted) observe(storeFailed('upload', blob.digest, error));
    }
    return false;
  }

  function checkOnce(blob: WaitingBlob): Promise<boolean> {
    const running = checks.get(blob) ?? check(blob).finally(() => checks.delete(blob));
    checks.set(blob, running);
    return running;
  }

  async function checkAll(blobs: readonly WaitingBlob[]): Promise<void> {
    for (const blob of blobs) {
      if (signal.aborted) return;
      if (!blob.isRight && !blob.hasLeft) await checkOnce(blob);
    }
  }

  return {
    async takeOver() {
      const left: WaitingBlob[] = [];
      for (const file of await folder.takeOver()) {
        if (signal.aborted) return;
        // What came meanwhile is as good, and is known to be right.
        if (waiting.get(file.digest)?.isRight) await removeFile(file.path).catch(() => undefined);
        else left.push(await waiting.keep(file, false));
      }
      checked = checked.then(() => checkAll(left));
    },
    async isRight(blob) {
      if (blob.isRight) return true;
      hurried.add(blob);
      try {
        return await checkOnce(blob);
      } finally {
        hurried.delete(blob);
      }
    },
    async close() {
      closing.abort(new Error('the cache is closed'));
      await Promise.all([checked, ...checks.values()]);
    },
  };
}
