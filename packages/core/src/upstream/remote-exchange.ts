import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import type { Slabs } from '../runtime/slabs.ts';
import { errorOf } from './cloned-error.ts';
import { headerOf, type ResponseHeaders } from './exchange.ts';
import type { Loans } from './lane-loans.ts';
import { type LaneEvent, type LaneOrder, type LentSlab, mostOnTheWay } from './lane-messages.ts';

/** One request over a lane in another thread. */
export interface RemoteExchange {
  tell(event: LaneEvent): void;
  fail(error: Error): void;
}

/** What one works with. */
export interface RemoteExchangeParts {
  /** Its number. */
  of: number;
  handler: Dispatcher.DispatchHandler;
  /** Memory for the body. */
  slabs: Slabs | undefined;
  loans: Loans;
  order(message: LaneOrder): void;
  /** Called once, before its handler is told of its end. */
  over(): void;
}

// A slab is passed on when it is filled to at least this.
const leastFilled = 256 * 1024;
// Less than this gets memory of its own size.
const worthSlab = 64 * 1024;

/**
 * Makes one. The other thread has memory for some pieces at a time, and gets more when those were read: so it holds the
 * server back as slow readers hold it back, and no message says so.
 */
export function createRemoteExchange(parts: RemoteExchangeParts): RemoteExchange {
  const { of, handler, slabs, loans, order } = parts;
  let isOver = false;
  let isPaused = false;
  let read = 0;
  let left = 0;
  let reason: Error | null = null;

  const controller: Dispatcher.DispatchController = {
    get aborted() {
      return reason !== null;
    },
    get paused() {
      return isPaused;
    },
    get reason() {
      return reason;
    },
    abort(error) {
      reason = error;
      if (isOver) return;
      order({ kind: 'abort', of });
      fail(error);
    },
    pause() {
      isPaused = true;
    },
    resume() {
      isPaused = false;
      allow();
    },
  };

  function end(): void {
    isOver = true;
    parts.over();
  }

  function fail(error: Error): void {
    if (isOver) return;
    end();
    handler.onResponseError?.(controller, error);
  }

  /** Lets one more piece come for each that was read, some at a time: each order wakes the other thread. */
  function allow(): void {
    if (isOver || isPaused || read < mostOnTheWay / 2) return;
    order({ kind: 'more', of, pieces: read, slabs: lend() });
    read = 0;
  }

  /** Memory for what is still to come, and one ahead to read into meanwhile. */
  function lend(): readonly LentSlab[] {
    const lent: LentSlab[] = [];
    while (slabs && loans.out() <= mostOnTheWay && loans.out() * leastFilled < left) {
      const slab = loans.lend(slabs);
      if (!slab) break;
      lent.push(slab);
    }
    return lent;
  }

  function begin(status: number, headers: ResponseHeaders): void {
    const length = Number(headerOf(headers, 'content-length'));
    if (length > worthSlab) {
      left = length;
      order({ kind: 'more', of, pieces: 0, slabs: lend() });
    }
    handler.onResponseStart?.(controller, status, headers as IncomingHttpHeaders, '');
  }

  function take(bytes: Uint8Array): void {
    left -= bytes.byteLength;
    read++;
    handler.onResponseData?.(controller, bytes as Buffer);
    allow();
  }

  return {
    fail,
    tell(event) {
      switch (event.kind) {
        case 'started':
          return handler.onRequestStart?.(controller, {});
        case 'head':
          return begin(event.status, event.headers);
        case 'piece':
          return take(loans.redeem(event.slab).subarray(event.from, event.to));
        case 'bytes':
          return take(event.bytes);
        case 'end':
          end();
          return handler.onResponseEnd?.(controller, {});
        case 'error':
          return fail(errorOf(event.error));
        default:
          return;
      }
    },
  };
}
