import { lookup } from 'node:dns';
import type { MessagePort } from 'node:worker_threads';
import type { Dispatcher } from 'undici';
import { createBorrowedSlabs } from './borrowed-slabs.ts';
import { cloneError } from './cloned-error.ts';
import { createDialer, createSecuring, type Securing } from './dialer.ts';
import { createLane } from './lane.ts';
import { type LaneEvent, type LaneOrder, mostOnTheWay } from './lane-messages.ts';
import { createLaneOutbox } from './lane-outbox.ts';
import { useNetworkDefaults } from './network-defaults.ts';
import type { LaneInit } from './thread-lanes.ts';

// Memory of its own for what nothing was lent for: until the first slab is here, or where there are none.
const ownBytes = { whileLent: 64 * 1024, alone: 256 * 1024 };

/** Serves a lane over a port, until that closes. */
export type LaneServer = (port: MessagePort, init: LaneInit) => void;

/** Makes what serves lanes in this thread: they share what their connections are secured with. */
export function createLaneServer(): LaneServer {
  let securedBy = createSecuring();
  return (port, { origin, defaults }) => {
    if (useNetworkDefaults(defaults)) securedBy = createSecuring();
    if (origin === undefined) port.close();
    else serveLane(port, origin, securedBy);
  };
}

function serveLane(port: MessagePort, origin: string, securedBy: Securing): void {
  const outbox = createLaneOutbox(port);
  let of = 0;
  let running: { allow(pieces: number): void; abort(): void } | undefined;
  let own = ownBytes.alone;
  let isDestroyed = false;

  const tell = (event: LaneEvent) => outbox.tell(of, event);
  const slabs = createBorrowedSlabs({ given: settle, ownBytes: () => own });
  const dialer = createDialer({ lookup, connected: (address) => tell({ kind: 'connected', address }), securedBy });
  const lane = createLane(origin, dialer);

  /** Gives back what no body will fill. Memory that a socket may still read into comes when that has closed. */
  function settle(): void {
    if (running) return;
    const unused = slabs.handBack();
    if (unused.length > 0) tell({ kind: 'unused', slabs: unused });
    if (isDestroyed && slabs.held() === 0) outbox.close();
  }

  function pieceOf(piece: Uint8Array): LaneEvent {
    const slab = slabs.pass(piece);
    const { byteOffset: from, byteLength } = piece;
    // Its memory may hold more than itself: what is moved is a copy.
    return slab === undefined
      ? { kind: 'bytes', bytes: new Uint8Array(piece) }
      : { kind: 'piece', slab, from, to: from + byteLength };
  }

  function ask({ of: nth, request, hasSlabs }: Extract<LaneOrder, { kind: 'ask' }>): void {
    of = nth;
    tell({ kind: 'taken' });
    own = hasSlabs ? ownBytes.whileLent : ownBytes.alone;
    let controller: Dispatcher.DispatchController | undefined;
    let allowed = mostOnTheWay;
    const end = (event: LaneEvent) => {
      tell(event);
      running = undefined;
      settle();
    };
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart(started) {
        controller = started;
        tell({ kind: 'started' });
      },
      onResponseStart: (_controller, status, headers) => tell({ kind: 'head', status, headers }),
      onResponseData(_controller, piece) {
        tell(pieceOf(piece));
        allowed--;
        if (allowed === 0) controller?.pause();
      },
      onResponseEnd: () => end({ kind: 'end' }),
      onResponseError: (_controller, error) => end({ kind: 'error', error: cloneError(error) }),
    };
    running = {
      allow(pieces) {
        const wasHeld = allowed <= 0;
        allowed += pieces;
        if (wasHeld && allowed > 0) controller?.resume();
      },
      abort: () => controller?.abort(new Error('given up')),
    };
    try {
      lane.dispatch({ ...request, slabs, pieces: 'slabs' }, handler);
    } catch (error) {
      end({ kind: 'error', error: cloneError(error) });
    }
  }

  port.on('message', (message: LaneOrder) => {
    switch (message.kind) {
      case 'ask':
        return ask(message);
      case 'more':
        slabs.lend(message.slabs);
        if (message.of === of) running?.allow(message.pieces);
        return settle();
      case 'abort':
        if (message.of === of) running?.abort();
        return;
      case 'destroy':
        isDestroyed = true;
        lane.destroy();
        return settle();
    }
  });
  port.on('close', lane.destroy);
}
