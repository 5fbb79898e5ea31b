import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { Client } from 'undici';
import type { LaneReader } from './lane-socket.ts';

const readBytes = 64 * 1024;

/** Where a replayed answer comes from. */
export interface Replayed {
  /** What of it has come. Read before this returns. */
  first: Uint8Array;
  /** Asks for the next bytes. */
  more(): void;
  /** Whether more may come without being asked for. */
  takesMore(): boolean;
  close(): void;
}

/**
 * A client of undici's for the answer that is coming over a lane, from its first byte on. The request that the client
 * sends goes nowhere, because it was sent before; it takes no other.
 */
export function replay(origin: string, source: Replayed): { client: Client; reader: LaneReader } {
  const memory = Buffer.allocUnsafeSlow(readBytes);
  let first: Buffer | undefined = Buffer.from(source.first);
  let end: { error: Error | undefined } | undefined;

  const answer = new Duplex({
    // Undici knows the socket by how it behaves: it reads when told, and closes with its last byte.
    allowHalfOpen: false,
    read: () => source.more(),
    write(_request, _encoding, callback) {
      const begun = first;
      first = undefined;
      // Not before: an answer to no request would be refused.
      if (begun) {
        answer.push(begun);
        if (end) finish(end.error);
      }
      callback();
    },
    destroy(error, callback) {
      source.close();
      callback(error);
    },
  });

  function finish(error: Error | undefined): void {
    if (error) answer.destroy(error);
    else answer.push(null);
  }

  const reader: LaneReader = {
    room: () => memory,
    took(count) {
      const bytes = memory.subarray(0, count);
      if (!first) return answer.push(Buffer.from(bytes)) && source.takesMore();
      first = Buffer.concat([first, bytes]);
      return true;
    },
    ended(error) {
      end = { error };
      if (!first) finish(error);
    },
  };
  const client = new Client(origin, {
    // Undici expects that connecting takes a moment.
    connect: (_options, callback) => queueMicrotask(() => callback(null, answer as unknown as Socket)),
    pipelining: 1,
  });
  return { client, reader };
}
