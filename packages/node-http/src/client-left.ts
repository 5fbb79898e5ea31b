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
  // A pipelined response has no socket until those before it are finished, and is not told that its connection closed.
  // Its request is, unless something has read it to its end.
  if (!res.socket) (req.destroyed ? req.socket : req).once('close', check);
}

/** A client while a body is being written to it. */
export interface WatchedClient {
  /** What the promise comes to, or `undefined` as soon as the client has left. */
  orLeft<T>(promise: Promise<T>): Promise<T | undefined>;
}

/** Watches a client for as long as its response is under way, so that no wait outlasts it. */
export function watchClient(req: IncomingMessage, res: ServerResponse): WatchedClient {
  let left = false;
  let wake: ((nothing: undefined) => void) | undefined;
  onClientLeft(req, res, () => {
    left = true;
    wake?.(undefined);
  });
  return {
    orLeft<T>(promise: Promise<T>) {
      // One waiter at a time, so one slot does; Promise.race would keep each outcome alive until the client leaves.
      return new Promise<T | undefined>((resolve, reject) => {
        wake = resolve;
        promise.then(resolve, reject);
        if (left) resolve(undefined);
      });
    },
  };
}
