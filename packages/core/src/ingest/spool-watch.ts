import type { FileHandle } from 'node:fs/promises';
import { open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '../runtime/clock.ts';
import { pause } from '../runtime/pause.ts';
import type { StoreDeadline } from '../store/store-deadline.ts';
import { UpstreamError } from '../upstream/upstream-error.ts';
import type { WantedOfLeader } from './leader.ts';
import { decodeState, type SpoolFileState, stateBytes } from './spool-state.ts';

/** How often it is looked for more. */
const lookMs = 20;

/** A leader that tells nothing for so long stands still. */
const silentMs = 1_500;

/** A leader has its lease a moment before its file. */
const appearsWithinMs = 100;

/** What a leader tells of its file. */
export interface SpoolWatch {
  state(): SpoolFileState;
  /** Waits a moment and reads it again. @throws UpstreamError where the leader failed or stands still; the signal's reason */
  look(signal: AbortSignal): Promise<void>;
  broke(why: string): UpstreamError;
  close(): Promise<void>;
}

/**
 * Opens what a leader tells at `path`.
 *
 * @returns `undefined` where its folder is not there, or the file is not ours to read
 * @throws UpstreamError where the leader ended, failed or stands still; the signal's reason
 */
export async function watchSpool(
  path: string,
  { wanted, clock, disk }: { wanted: WantedOfLeader; clock: Clock; disk: StoreDeadline },
): Promise<SpoolWatch | undefined> {
  const { upstream, digest, signal } = wanted;
  const broke = (why: string) =>
    new UpstreamError('unreachable', `${upstream} is asked for ${digest} by another process, which ${why}`, {
      upstream,
    });
  const bytes = new Uint8Array(stateBytes);
  let handle: FileHandle | undefined;
  try {
    const until = clock.monotonic() + appearsWithinMs;
    for (handle = await openToRead(path, disk); !handle; handle = await openToRead(path, disk)) {
      await disk.run({ operation: 'spool look', rests: false }, () => stat(dirname(path)));
      if (clock.monotonic() >= until) throw broke('has ended');
      await pause(lookMs, clock, signal);
    }
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof UpstreamError) throw error;
    return undefined;
  }
  const opened = handle;
  let state: SpoolFileState = { file: '', written: 0, phase: 'asking', beat: -1 };
  let heardAt = clock.monotonic();

  async function reread(): Promise<void> {
    const { bytesRead } = await disk.run({ operation: 'spool look', rests: false }, () =>
      opened.read(bytes, 0, stateBytes, 0),
    );
    const told = decodeState(bytes.subarray(0, bytesRead));
    if (told && told.beat !== state.beat) {
      heardAt = clock.monotonic();
      state = told;
    }
    if (state.phase === 'failed') throw broke('failed');
    if (clock.monotonic() - heardAt >= silentMs) throw broke('stands still');
  }

  const watch: SpoolWatch = {
    state: () => state,
    async look(until) {
      await pause(lookMs, clock, until);
      await reread();
    },
    broke,
    close: () => opened.close().catch(() => undefined),
  };
  try {
    await reread();
    return watch;
  } catch (error) {
    await watch.close();
    throw error;
  }
}

/** Opens a file to read it; `undefined`: it is not there. */
export async function openToRead(path: string, disk: StoreDeadline): Promise<FileHandle | undefined> {
  const late = (handle: FileHandle | undefined) => void handle?.close().catch(() => undefined);
  return await disk.run({ operation: 'spool open', rests: false, late }, async () => {
    try {
      return await open(path, 'r');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  });
}
