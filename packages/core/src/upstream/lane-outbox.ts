import type { MessagePort } from 'node:worker_threads';
import type { LaneEvent, LaneReport } from './lane-messages.ts';

/** What a lane in another thread has to tell. */
export interface LaneOutbox {
  tell(of: number, event: LaneEvent): void;
  /** Sends what there is, and closes the port behind it. */
  close(): void;
}

/** Makes one, that sends what is told in one go as one message: each costs both threads. */
export function createLaneOutbox(port: MessagePort): LaneOutbox {
  let waiting: { of: number; events: LaneEvent[] } | undefined;

  function send(): void {
    const report: LaneReport | undefined = waiting;
    waiting = undefined;
    if (!report) return;
    const moved = report.events.flatMap((event) => (event.kind === 'bytes' ? [event.bytes.buffer] : []));
    port.postMessage(report, moved);
  }

  return {
    tell(of, event) {
      if (waiting?.of !== of) send();
      if (waiting) waiting.events.push(event);
      else {
        waiting = { of, events: [event] };
        queueMicrotask(send);
      }
    },
    close() {
      send();
      port.close();
    },
  };
}
