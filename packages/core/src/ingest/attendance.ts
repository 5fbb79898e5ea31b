import type { Clock } from '../runtime/clock.ts';

/** How somebody leaves. `endsAlone`: what nobody else wants is given up at once, however much of it has come. Default false. */
export type Leave = (how?: { endsAlone?: boolean }) => void;

/** Who is there for a transfer: see {@link createAttendance}. */
export interface Attendance {
  /** Counts one more, until the function is called; more than once does no harm. */
  join(): Leave;
  /** From now on it is nobody's matter who leaves. */
  end(): void;
}

// A transfer that broke off and that nobody reads is worth some tries, but not a place that others need.
const deserted = 30_000;

/**
 * Counts those who wait for a transfer or read it. One that has begun goes on when the last has left, for as long as it
 * makes headway; one that has brought nothing yet is given up then.
 *
 * @param transfer.received how many bytes have come
 */
export function createAttendance(transfer: { received(): number; giveUp(why: Error): void }, clock: Clock): Attendance {
  let present = 0;
  let ended = false;
  let stopWatching = () => {};

  function watch(): void {
    const before = transfer.received();
    stopWatching = clock.after(deserted, () => {
      if (transfer.received() !== before) watch();
      else transfer.giveUp(new Error('nothing more came, and nobody was left to read it'));
    });
  }

  function leave(endsAlone: boolean): void {
    present--;
    if (present > 0 || ended) return;
    if (transfer.received() === 0) transfer.giveUp(new Error('all who waited for its first byte have left'));
    else if (endsAlone) transfer.giveUp(new Error('nobody wants it any more'));
    else watch();
  }

  return {
    join() {
      present++;
      stopWatching();
      let joined = true;
      return ({ endsAlone = false } = {}) => {
        if (joined) leave(endsAlone);
        joined = false;
      };
    },
    end() {
      ended = true;
      stopWatching();
    },
  };
}
