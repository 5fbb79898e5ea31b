import type { MessagePort } from 'node:worker_threads';
import type { Dispatcher } from 'undici';
import { systemClock } from '../runtime/clock.ts';
import { closedEarly, type Lane } from './lane.ts';
import { createLoans } from './lane-loans.ts';
import type { LaneOrder, LaneReport } from './lane-messages.ts';
import type { LaneRequest } from './lane-request.ts';
import { createRemoteExchange, type RemoteExchange } from './remote-exchange.ts';

/** What a lane in another thread is made with. */
export interface RemoteLaneParts {
  /** To where that thread serves it. It closes when the thread ends. */
  port: MessagePort;
  /** Told where the upstream's own origin was reached. */
  connected(address: string): void;
  /** Makes one in this thread: what is asked for after the other has ended goes over that. */
  instead(): Lane;
}

// Less than any upstream may take to connect: that a thread stands still, or is yet to start, is not the upstream's doing.
const takenWithinMs = 2_500;

/** Makes a lane whose connection is in another thread: it answers, fails and holds its server back as any lane does. */
export function createRemoteLane({ port, connected, instead }: RemoteLaneParts): Lane {
  const loans = createLoans();
  let state: 'open' | 'destroyed' | 'ended' = 'open';
  let near: Lane | undefined;
  let asked = 0;
  let running: { exchange: RemoteExchange; isHeard: boolean; again(): void; cancelWait(): void } | undefined;

  function order(message: LaneOrder): void {
    port.postMessage(message);
  }

  function over(): void {
    running?.cancelWait();
    running = undefined;
    port.unref();
  }

  function dispatchNear(request: LaneRequest, handler: Dispatcher.DispatchHandler): void {
    near ??= instead();
    near.dispatch(request, handler);
  }

  port.on('message', ({ of, events }: LaneReport) => {
    for (const event of events) {
      if (event.kind === 'connected') connected(event.address);
      else if (event.kind === 'unused') event.slabs.forEach(loans.giveBack);
      else if (of === asked && running) {
        running.isHeard = true;
        running.cancelWait();
        running.exchange.tell(event);
      }
      // Nobody reads it any more.
      else if (event.kind === 'piece') loans.giveBack(event.slab);
    }
  });
  // Memory that was lent may still be looked at there: it is forgotten.
  port.on('close', () => {
    const left = running;
    if (state === 'open') state = 'ended';
    if (state === 'destroyed' || left?.isHeard) return left?.exchange.fail(closedEarly());
    // A thread that is ending takes orders, and carries none out.
    over();
    left?.again();
  });
  port.unref();

  return {
    dispatch(request, handler) {
      if (state === 'ended') return dispatchNear(request, handler);
      const { slabs, ...plain } = request;
      const of = ++asked;
      const exchange = createRemoteExchange({ of, handler, slabs, loans, order, over });
      if (state === 'destroyed') return exchange.fail(new Error('given up'));
      order({ kind: 'ask', of, request: plain, hasSlabs: slabs !== undefined });
      const again = () => {
        try {
          dispatchNear(request, handler);
        } catch (error) {
          exchange.fail(error as Error);
        }
      };
      const cancelWait = systemClock.after(takenWithinMs, () => {
        state = 'ended';
        order({ kind: 'destroy' });
        over();
        again();
      });
      running = { exchange, isHeard: false, again, cancelWait };
      // Whoever waits for an answer keeps the process, as by a socket; nobody waits for an idle connection.
      port.ref();
    },
    destroy() {
      near?.destroy();
      if (state !== 'open') return;
      state = 'destroyed';
      order({ kind: 'destroy' });
    },
  };
}
