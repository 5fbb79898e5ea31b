import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import type { Dialer, HostPlan } from './dialer.ts';
import { createLaneBody, type LaneBody } from './lane-body.ts';
import { createLaneHeadReader, type LaneHead } from './lane-head.ts';
import { replay } from './lane-replay.ts';
import { type LaneRequest, requestHead } from './lane-request.ts';
import { createLaneSocket, type LaneReader } from './lane-socket.ts';

/** A way to a host for bodies that are large: one connection, whose bytes go straight into memory that is used again. */
export interface Lane {
  /** As undici's own, of one request at a time. */
  dispatch(request: LaneRequest, handler: Dispatcher.DispatchHandler): void;
  destroy(): void;
}

/**
 * Makes a lane. It understands the answers that nearly all servers give to a GET of content, and those alone: any other is
 * given to undici from its first byte on, and means there what it means everywhere else.
 */
export function createLane(origin: string, dialer: Dialer): Lane {
  let host: HostPlan | undefined;
  const socket = createLaneSocket(new URL(origin), (onread) => dialer.connector(() => host as HostPlan, onread));

  function dispatch(request: LaneRequest, handler: Dispatcher.DispatchHandler): void {
    const { slabs, pieces } = request;
    const text = requestHead(origin, request);
    let state: 'lane' | 'replayed' | 'over' = 'lane';
    let isPaused = false;
    let reason: Error | null = null;
    let inner: Dispatcher.DispatchController | undefined;

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
        if (state === 'replayed') return inner?.abort(error);
        socket.close();
        fail(error);
      },
      // Undici's parser is never paused (see valve.ts): where it reads an answer, what it reads from is.
      pause() {
        isPaused = true;
      },
      resume() {
        isPaused = false;
        if (state !== 'over') socket.resume();
      },
    };

    const takesMore = () => state !== 'lane' || !isPaused;

    function fail(error: Error): void {
      if (state === 'over') return;
      state = 'over';
      handler.onResponseError?.(controller, error);
    }

    function readHead(): LaneReader {
      const head = createLaneHeadReader();
      let length = 0;
      return {
        room: () => socket.head.subarray(length),
        took(count) {
          length += count;
          const found = head.read(socket.head, length);
          if (found === undefined && length < socket.head.byteLength) return true;
          if (found === undefined || found === 'unusual') leaveTo(length);
          else begin(found, length);
          return takesMore();
        },
        ended(error) {
          if (length > 0 && state === 'lane') leaveTo(length).ended(error);
          else fail(error ?? closedEarly());
        },
      };
    }

    function begin({ status, headers, length, keepsAlive, end }: LaneHead, came: number): void {
      const body = createLaneBody(length, {
        slabs,
        pieces,
        push(piece) {
          if (state === 'lane') handler.onResponseData?.(controller, piece as Buffer);
          else slabs?.give(piece);
        },
      });
      const complete = (isMore: boolean) => {
        socket.read(undefined);
        // RFC 9112 6.3: what follows is no part of this answer, and no answer to anything else.
        if (isMore || !keepsAlive) socket.close();
        // TLS gives all that it has unpacked, also while it is held up: what ended the body did not end that.
        else socket.resume();
        if (state !== 'lane') return;
        state = 'over';
        handler.onResponseEnd?.(controller, {});
      };
      socket.read(readBody(body, complete));
      handler.onResponseStart?.(controller, status, headers as IncomingHttpHeaders, '');
      const used = end + fill(body, socket.head.subarray(end, came));
      if (body.left() === 0) complete(came > used);
    }

    function readBody(body: LaneBody, complete: (isMore: boolean) => void): LaneReader {
      return {
        room: body.room,
        took(count) {
          const isMore = count > body.left();
          body.took(count);
          if (body.left() === 0) complete(isMore);
          return takesMore();
        },
        ended(error) {
          if (state !== 'lane') return body.close();
          body.end();
          fail(error ?? closedEarly());
        },
      };
    }

    /** Lets undici read it all. */
    function leaveTo(length: number): LaneReader {
      state = 'replayed';
      const { client, reader } = replay(origin, {
        first: socket.head.subarray(0, length),
        more() {
          if (state === 'replayed' && !isPaused) socket.resume();
        },
        takesMore: () => !isPaused,
        close() {
          if (state === 'replayed') socket.close();
        },
      });
      const finish = () => {
        if (state === 'over') return;
        state = 'over';
        // At once: the next request may be here before the connection is closed, and is not to be read by this reader.
        socket.read(undefined);
        socket.close();
        client.destroy().catch(() => undefined);
      };
      socket.read(reader);
      client.dispatch(request, {
        onRequestStart(started) {
          inner = started;
          if (reason) started.abort(reason);
        },
        onResponseStart: (_started, ...answer) => handler.onResponseStart?.(controller, ...answer),
        onResponseData: (_started, chunk) => handler.onResponseData?.(controller, chunk),
        onResponseEnd(_started, trailers) {
          finish();
          handler.onResponseEnd?.(controller, trailers);
        },
        onResponseError(_started, error) {
          finish();
          handler.onResponseError?.(controller, error);
        },
      });
      return reader;
    }

    host = request.host;
    socket.connect((error) => {
      if (error) return fail(error);
      handler.onRequestStart?.(controller, {});
      if (state === 'over') return;
      socket.read(readHead());
      socket.write(text);
    });
  }

  return { dispatch, destroy: socket.destroy };
}

/** Copies what came with the head. @returns how much of it is of the body */
function fill(body: LaneBody, bytes: Uint8Array): number {
  let at = 0;
  while (at < bytes.byteLength && body.left() > 0) {
    const room = body.room();
    const piece = bytes.subarray(at, at + room.byteLength);
    room.set(piece);
    body.took(piece.byteLength);
    at += piece.byteLength;
  }
  return at;
}

export function closedEarly(): Error {
  return Object.assign(new Error('other side closed'), { code: 'ECONNRESET' });
}
