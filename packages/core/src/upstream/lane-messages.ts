import type { ClonedError } from './cloned-error.ts';
import type { ResponseHeaders } from './exchange.ts';
import type { LaneRequest } from './lane-request.ts';

/** A lane's request as it goes to another thread: without its memory, which is lent as the body needs it. */
export type AskedRequest = Omit<LaneRequest, 'slabs' | 'pieces'>;

/** Memory lent to a lane in another thread, until it comes back by a piece or is given back. */
export interface LentSlab {
  id: number;
  /** What the id means from now on; left out where it was told before. */
  memory?: SharedArrayBuffer;
}

/** What a lane in another thread is told. `of`: the number of a request, counted over one connection. */
export type LaneOrder =
  /** `hasSlabs`: whether memory will be lent for its body. */
  | { kind: 'ask'; of: number; request: AskedRequest; hasSlabs: boolean }
  /** So many more pieces may be sent; and memory to fill. */
  | { kind: 'more'; of: number; pieces: number; slabs: readonly LentSlab[] }
  | { kind: 'abort'; of: number }
  /** Closes the connection for good, and then the port. */
  | { kind: 'destroy' };

/** What a lane in another thread tells, as much at once as there is. */
export interface LaneReport {
  of: number;
  events: readonly LaneEvent[];
}

/** One thing that a lane in another thread tells. */
export type LaneEvent =
  /** Where the upstream's own origin was reached. */
  | { kind: 'connected'; address: string }
  /** The request is being carried out: the first that is told of one. */
  | { kind: 'taken' }
  | { kind: 'started' }
  | { kind: 'head'; status: number; headers: ResponseHeaders }
  /** Bytes in a lent slab, which goes back with them. */
  | { kind: 'piece'; slab: number; from: number; to: number }
  /** Bytes in memory of their own. */
  | { kind: 'bytes'; bytes: Uint8Array<ArrayBuffer> }
  | { kind: 'end' }
  | { kind: 'error'; error: ClonedError }
  /** Lent slabs that nothing comes into any more. */
  | { kind: 'unused'; slabs: readonly number[] };

/** How many pieces may be on their way to the thread that reads them: one is read while the next is filled. */
export const mostOnTheWay = 2;
