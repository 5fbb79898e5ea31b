import { basename, relative } from 'node:path';
import type { Clock } from '../runtime/clock.ts';
import { abortable } from '../runtime/collapse.ts';
import { createDeferred } from '../runtime/deferred.ts';
import type { Coordinator, Lease } from '../store/coordinator.ts';
import { type Beacon, createBeacon } from './beacon.ts';
import { type Leader, leaderText } from './leader.ts';
import type { SpoolFile } from './spool-file.ts';
import type { SpoolFileState } from './spool-state.ts';

/** What came of an attempt to lead: `held`, another does; `away`, the coordinator cannot say. */
export type Taking = 'taken' | 'held' | 'away';

/** What came of a transfer so far, as others are told. */
export type Course = Pick<SpoolFileState, 'phase' | 'total'>;

/** The lease of a transfer's blob, while this process has it and when not. */
export interface TransferLease {
  /** Whether this process leads. */
  holds(): boolean;
  /** Whether it is what this transfer's lease tells, or told. */
  hasText(text: string): boolean;
  /** Leads, where nobody else does; others can read its spool file then. Rejects with the signal's reason alone. */
  take(signal: AbortSignal): Promise<Taking>;
  /** Names the file that the transfer fills from now on; it is not asked for the lease before. */
  fills(file: SpoolFile): void;
  /** Tells those who follow, if there may be any, what came. */
  tell(course: Course): void;
  /** Keeps the whole file to be read by the others until the end. See {@link Beacon.keep}. */
  keep(file: string): Promise<void>;
  /** Somebody follows. */
  followed(): void;
  /** Gives the lease back. Never rejects. */
  giveBack(): Promise<void>;
  /** Gives it back, and ends what others read. */
  end(): Promise<void>;
}

/** How long others wait for a leader that died. The coordinator renews it meanwhile. */
const leaseForMs = 3_000;

/**
 * @param about.leader who leads, but for its spool file
 * @param about.directory the spool folder
 * @param about.released called whenever the lease was given back
 */
export function createTransferLease(
  about: { key: string; directory: string; leader(): Leader; released(): void },
  { coordinator, clock }: { coordinator: Coordinator; clock: Clock },
): TransferLease {
  const { key, directory, leader, released } = about;
  const first = createDeferred<SpoolFile>();
  let file: SpoolFile | undefined;
  let course: Course = { phase: 'asking' };
  let lease: Lease | undefined;
  let value: string | undefined;
  let beacon: Beacon | undefined;
  let isFollowed = false;
  let giving = Promise.resolve();
  let ended = false;

  const holds = () => lease?.lost.aborted === false;
  const state = () => ({ ...course, file: basename(file?.path ?? ''), written: file?.written ?? 0 });

  function giveBack(): Promise<void> {
    const given = lease;
    lease = undefined;
    if (given) giving = given.release().then(released);
    return giving;
  }

  return {
    holds,
    hasText: (text) => text === value,
    async take(signal) {
      if (holds()) return 'taken';
      const { path } = await abortable(first.promise, signal);
      value = leaderText({ ...leader(), spool: relative(directory, path).replaceAll('\\', '/') });
      try {
        const taken = await coordinator.acquire(key, { for: leaseForMs, value, signal });
        if (!taken) return 'held';
        lease = taken;
      } catch {
        signal.throwIfAborted();
        return 'away';
      }
      if (ended) await giveBack();
      else beacon ??= createBeacon(path, { clock, state });
      if (isFollowed) beacon?.hurry();
      return 'taken';
    },
    fills(next) {
      file = next;
      first.resolve(next);
    },
    tell(next) {
      course = next;
      beacon?.tell();
    },
    keep: async (path) => beacon?.keep(path),
    followed() {
      isFollowed = true;
      beacon?.hurry();
    },
    giveBack,
    async end() {
      ended = true;
      if (course.phase === 'asking' || course.phase === 'filling') course = { ...course, phase: 'failed' };
      await beacon?.end();
      await giveBack();
    },
  };
}
