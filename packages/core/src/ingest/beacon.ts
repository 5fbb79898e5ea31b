import { link, open, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type Clock, systemClock } from '../runtime/clock.ts';
import { createStoreDeadline } from '../store/store-deadline.ts';
import { encodeState, keptName, type SpoolFileState, statePathOf } from './spool-state.ts';

/** Tells other processes how far a spool file is: see {@link createBeacon}. */
export interface Beacon {
  /** Tells at once what changed. */
  tell(): void;
  /** From now on it tells what came as it comes: somebody reads it. */
  hurry(): void;
  /**
   * Keeps a whole file to be read until the end, whoever moves it meanwhile: a store that takes long takes it from the
   * spool at once. Never rejects; where the file system has no second names, it is as if it were not called.
   */
  keep(file: string): Promise<void>;
  /** Tells it once more, then ends, and removes its file. Never rejects. */
  end(): Promise<void>;
}

/** How often readers are told what came, which is how far they may lag behind. */
const tickMs = 25;

/** How often it is told that the process runs, and what came where nobody is known to read. */
const beatMs = 300;

/** A disk that takes longer is not worth waiting for: readers find that it stands still. */
const withinMs = 1_000;

/**
 * Writes the state of a spool file into a small file beside it, from time to time, and whenever it changed while somebody
 * reads it. A disk that takes no more of it keeps nobody.
 *
 * @param spoolFile where the first file of the transfer is, or was
 * @param diskClock what a call of the disk is timed by
 */
export function createBeacon(
  spoolFile: string,
  { clock, state, diskClock = systemClock }: { clock: Clock; state(): Omit<SpoolFileState, 'beat'>; diskClock?: Clock },
): Beacon {
  const path = statePathOf(spoolFile);
  const disk = createStoreDeadline(diskClock, withinMs);
  const opened = open(path, 'w', 0o600);
  // Nobody can read it then; it costs no pull.
  opened.catch(() => undefined);
  let kept: string | undefined;
  let beat = 0;
  let told = '';
  let toldAt = Number.NEGATIVE_INFINITY;
  let writing: Promise<void> | undefined;
  let isDue = false;
  let isRead = false;
  let ended = false;
  let stop = (): void => undefined;

  const current = () => ({ ...state(), ...(kept !== undefined && { file: basename(kept) }) });

  async function write(): Promise<void> {
    const handle = await opened;
    do {
      isDue = false;
      const now = current();
      told = JSON.stringify(now);
      toldAt = clock.monotonic();
      await handle.write(encodeState({ ...now, beat: beat++ }), 0, undefined, 0);
    } while (isDue);
  }

  function tell(): void {
    isDue = true;
    writing ??= write()
      .catch(() => undefined)
      .finally(() => {
        writing = undefined;
      });
  }

  function tick(): void {
    stop();
    if (clock.monotonic() - toldAt >= beatMs || JSON.stringify(current()) !== told) tell();
    stop = clock.after(isRead ? tickMs : beatMs, tick);
  }

  async function finish(): Promise<void> {
    tell();
    await writing;
    const handle = await opened;
    await Promise.all([handle.close(), unlink(path)]);
  }

  const run = (work: () => Promise<void>) =>
    disk.run({ operation: 'spool state', rests: false }, work).catch(() => undefined);

  tick();
  return {
    tell,
    hurry() {
      if (isRead || ended) return;
      isRead = true;
      tick();
    },
    async keep(file) {
      const name = join(dirname(file), keptName(basename(file)));
      await run(async () => {
        await link(file, name);
        kept = name;
      });
      tell();
    },
    async end() {
      if (ended) return;
      ended = true;
      stop();
      await run(finish);
      const file = kept;
      if (file !== undefined) await run(() => unlink(file));
    },
  };
}
