import type { EventEmitter } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';

/** Whether the connection is gone and the response can reach nobody. */
export function hasClientLeft(req: IncomingMessage, res: ServerResponse): boolean {
  return !res.writableFinished && (res.destroyed || req.socket.destroyed);
}

/** Calls `left` once when the connection ends before the response was finished; at once when it already has. */
export function onClientLeft(req: IncomingMessage, res: ServerResponse, left: () => void): void {
  if (hasClientLeft(req, res)) {
    left();
    return;
  }
  let told = false;
  const check = () => {
    if (told || !hasClientLeft(req, res)) return;
    told = true;
    left();
  };
  res.once('close', check);
  if (res.socket) return;
  // A pipelined response has no socket until those before it are finished, and is not told that its connection closed.
  // Its request is, unless something has read it to its end.
  const gone = req.destroyed ? req.socket : req;
  expectListeners(gone, 1);
  gone.once('close', check);
  // The connection may outlive it for long.
  res.once('socket', () => {
    gone.off('close', check);
    expectListeners(gone, -1);
  });
}

/** Node warns of more than 10 listeners. A client decides how many requests wait: it would fill the host's log. */
function expectListeners(emitter: EventEmitter, more: number): void {
  const most = emitter.getMaxListeners();
  // 0: no limit.
  if (most > 0) emitter.setMaxListeners(most + more);
}
