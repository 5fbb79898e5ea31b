import type { Clock } from '../runtime/clock.ts';
import { createDeferred } from '../runtime/deferred.ts';
import type { Coordinator } from '../store/coordinator.ts';
import { type StoreEvent, storeFailed } from '../store/events.ts';

/** Whether what is stored of upstreams is known, and the means to wait for it. */
export interface BookFollower {
  /** Whether all of it was read since the start. */
  isRead(): boolean;
  /** Resolves when it was read, could not be, or it took too long. `undefined`: no need to wait. Never rejects. */
  wait(): Promise<void> | undefined;
  /** Tells the others that something was written. Never rejects. */
  tell(): Promise<void>;
  /** Ends. Never rejects. */
  close(): Promise<void>;
}

/** What {@link followBook} works with. */
export interface BookFollowerParts {
  /** Reads all that is written, and has it hold. */
  read(): Promise<void>;
  coordinator: Coordinator | undefined;
  /** How often it is read again, in ms. */
  everyMs: number;
  clock: Clock;
  observe(event: StoreEvent): void;
}

const channel = 'upstreams';
/** As long as a validation may take with a copy stored: whoever asks for something could be served without it. */
const waitAtMostMs = 2_000;
/** While it could not be read since the start: meanwhile names may be refused. */
const retryMs = 1_000;

/** Reads what is stored of upstreams: at the start, when others tell that they wrote, and every so often. */
export function followBook(parts: BookFollowerParts): BookFollower {
  const { clock, everyMs, coordinator } = parts;
  const settled = createDeferred<void>();
  let isRead = false;
  let isSettled = false;
  let isFailing = false;
  let isClosed = false;
  let reading: Promise<void> | undefined;
  let isStale = false;
  let cancel = (): void => undefined;

  function settle(): void {
    isSettled = true;
    settled.resolve();
  }

  async function readOnce(): Promise<void> {
    try {
      await parts.read();
      isRead = true;
      isFailing = false;
    } catch (error) {
      if (!isFailing && !isClosed) parts.observe(storeFailed('read', 'upstreams', error));
      isFailing = true;
    }
    settle();
  }

  function read(): void {
    if (isClosed) return;
    // What is being read may be older than what the call is about.
    if (reading !== undefined) {
      isStale = true;
      return;
    }
    cancel();
    isStale = false;
    reading = readOnce().finally(() => {
      reading = undefined;
      if (isClosed) return;
      if (isStale) read();
      else cancel = clock.after(isRead ? everyMs : Math.min(retryMs, everyMs), read);
    });
  }

  const leave = coordinator?.subscribe(channel, read);
  const stopWaiting = clock.after(waitAtMostMs, settle);
  read();
  return {
    isRead: () => isRead,
    wait: () => (isSettled ? undefined : settled.promise),
    async tell() {
      // Those that are not told find it when they read again.
      await coordinator?.publish(channel, 'changed').catch(() => undefined);
    },
    async close() {
      isClosed = true;
      leave?.();
      stopWaiting();
      cancel();
      settle();
      await reading;
    },
  };
}
