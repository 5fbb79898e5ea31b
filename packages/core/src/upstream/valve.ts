import type { Socket } from 'node:net';
import type { buildConnector } from 'undici';

/** Holds back what a connection brings while nobody reads it. */
export interface Valve {
  /** Makes connections whose bytes it can hold back. */
  around(connect: buildConnector.connector): buildConnector.connector;
  pause(): void;
  resume(): void;
}

/**
 * Makes a valve for a client of undici's with one connection. Undici's own way to pause is not to be used: an answer that
 * ends with its connection, and ends or breaks off while its parser is paused, fails an assertion outside of anybody's
 * reach (nodejs/undici#5360), which ends the host's process. Here the parser is never paused: what it reads from is.
 *
 * @param most bytes that it gets at a time; default: as many as are here
 */
export function createValve(most: number = Number.POSITIVE_INFINITY): Valve {
  let socket: Socket | undefined;
  let isHeld = false;

  function adopt(made: Socket): Socket {
    const read = made.read.bind(made);
    made.read = (size?: number) => {
      if (isHeld && socket === made) return null;
      return made.readableLength > most ? read(most) : read(size);
    };
    socket = made;
    isHeld = false;
    return made;
  }

  return {
    around: (connect) => (target, callback) =>
      connect(target, (...result) => {
        const [error, made] = result;
        if (error || !made) callback(...result);
        else callback(null, adopt(made));
      }),
    pause() {
      isHeld = true;
    },
    resume() {
      if (!isHeld) return;
      isHeld = false;
      // What came meanwhile is not told again. Not at once: undici may be calling this while it reads.
      queueMicrotask(() => socket?.emit('readable'));
    },
  };
}
