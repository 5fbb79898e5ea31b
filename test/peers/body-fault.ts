import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * What befalls an answer on its way. Positions count from its body's first byte.
 *
 * - `status`: this instead of the answer, with an error as registries write it
 * - `cutAfter`: the connection is closed after that many bytes, in order or by a reset
 * - `stallAfter`: nothing more after that many bytes; the connection stays open
 * - `corruptAt`: the bits of that byte are flipped
 */
export type BodyFault =
  | { status: number; headers: Readonly<Record<string, string>> }
  | { cutAfter: number; how: 'fin' | 'rst' }
  | { stallAfter: number }
  | { corruptAt: number };

/** Which requests a fault is meant for, and whose turn it is. */
export interface FaultPlan {
  /** The part of a path that they have in common. */
  path: string;
  /** A fault for each of their answers that is a success, in order; then no more. */
  faults: BodyFault[];
}

/** Passes a body on, with its fault, and tells how many bytes have left. Never rejects: a cut body is passed on as cut. */
export async function passBody(
  answer: IncomingMessage,
  outgoing: ServerResponse,
  { fault, sent }: { fault: BodyFault | undefined; sent: (bytes: number) => void },
): Promise<void> {
  const end = endOf(fault);
  const wrong = fault !== undefined && 'corruptAt' in fault ? fault.corruptAt : -1;
  let position = 0;
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      const bytes = chunk.subarray(0, end - position);
      const at = wrong - position;
      if (at >= 0 && at < bytes.length) bytes[at] = ~(bytes[at] ?? 0);
      position += bytes.length;
      sent(bytes.length);
      if (!outgoing.write(bytes)) await drained(outgoing);
      if (position < end) continue;
      return await breakOff(outgoing, fault);
    }
    outgoing.end();
  } catch {
    outgoing.destroy();
  }
}

function endOf(fault: BodyFault | undefined): number {
  if (fault === undefined) return Number.POSITIVE_INFINITY;
  if ('cutAfter' in fault) return fault.cutAfter;
  return 'stallAfter' in fault ? fault.stallAfter : Number.POSITIVE_INFINITY;
}

async function drained(outgoing: ServerResponse): Promise<void> {
  const settled = new AbortController();
  const { signal } = settled;
  await Promise.race([once(outgoing, 'drain', { signal }), once(outgoing, 'close', { signal })]);
  settled.abort();
}

async function breakOff({ socket }: ServerResponse, fault: BodyFault | undefined): Promise<void> {
  if (socket === null || fault === undefined || !('cutAfter' in fault)) return;
  if (fault.how === 'fin') {
    socket.end();
    return;
  }
  // A reset takes along what is still on its way.
  while (!socket.destroyed && (socket.writableLength > 0 || isUnread(socket))) await sleep(5);
  socket.resetAndDestroy();
}

/** Whether the other end of a connection within this machine has yet to read what was sent (proc_net_tcp.txt). */
function isUnread({ localPort, remotePort }: Socket): boolean {
  const port = (number = 0) => `0100007F:${number.toString(16).toUpperCase().padStart(4, '0')}`;
  const ends = [port(localPort), port(remotePort)];
  return readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .some(
      ([, from = '', to = '', , queues]) => ends.includes(from) && ends.includes(to) && queues !== '00000000:00000000',
    );
}
