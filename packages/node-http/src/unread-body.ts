import type { IncomingMessage, ServerResponse } from 'node:http';

// Node reads a body that nobody wanted to its end, to use the connection again. Worth it up to here.
const readAwayBytes = 64 * 1024;
// How much, and how long, is read after the answer to a longer one.
const lingerBytes = 1024 * 1024;
const lingerMs = 1_000;

/** Whether the client may still be sending a body that is too long to be read away. */
export function hasLongUnreadBody(req: IncomingMessage): boolean {
  if (req.complete) return false;
  return req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length']) > readAwayBytes;
}

/**
 * Waits after an answer until the client has seen it and stopped sending, for a second or a MiB at most. RFC 9112 9.6:
 * closing a connection with unread bytes on it makes the kernel send a reset, which may overtake the answer.
 */
export function linger(req: IncomingMessage, res: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    let read = 0;
    const onData = (chunk: Buffer) => {
      read += chunk.byteLength;
      if (read > lingerBytes) done();
    };
    const done = () => {
      clearTimeout(timer);
      req.off('data', onData).off('end', done).off('close', done);
      res.off('close', done);
      resolve();
    };
    const timer = setTimeout(done, lingerMs);
    timer.unref();
    if (req.destroyed || req.readableEnded) return done();
    res.once('close', done);
    req.on('data', onData).once('end', done).once('close', done).resume();
  });
}
