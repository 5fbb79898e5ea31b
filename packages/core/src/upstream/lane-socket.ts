import type { OnReadOpts, Socket } from 'node:net';
import type { Connector } from './connector.ts';

/** Who gets what a socket brings, straight into memory of its own. */
export interface LaneReader {
  /** Where the next bytes go. */
  room(): Uint8Array;
  /** They came. @returns whether more may come now; else only after `resume()` */
  took(length: number): boolean;
  /** Nothing more comes, and nothing into the memory that `room` gave; without an error the server closed in good order. */
  ended(error?: Error): void;
}

/** One connection for one request at a time, made when it is needed and kept in between. */
export interface LaneSocket {
  /** Where the first bytes of an answer come. */
  readonly head: Buffer;
  /** Calls back when it is connected. */
  connect(callback: (error: Error | null) => void): void;
  /** Whom to give what comes. Without one nothing may come: then it is closed. */
  read(reader: LaneReader | undefined): void;
  write(text: string): void;
  resume(): void;
  /** Closes the connection; the next request makes another. */
  close(): void;
  /** Closes it for good. */
  destroy(): void;
}

/** Runs it when all that had come by now was read, and once more what comes. */
const afterTurn = (fn: () => void) => void setImmediate(() => setImmediate(fn));

// As much as Node and undici read of an answer's head.
const longestHead = 16 * 1024;

/** Makes one. `connector` makes a connection with the given options for reading. */
export function createLaneSocket(origin: URL, connector: (onread: OnReadOpts) => Connector): LaneSocket {
  const head = Buffer.allocUnsafeSlow(longestHead);
  let reader: LaneReader | undefined;
  let socket: Socket | undefined;
  let connecting: Connector | undefined;
  let isGone = false;
  // Whether a turn of the event loop has passed since its last answer, and brought nothing that nobody asked for.
  let isQuiet = false;
  let answers = 0;

  const onread: OnReadOpts = {
    buffer: () => reader?.room() ?? head,
    callback(length) {
      if (reader) return reader.took(length);
      // What nobody asked for belongs to no answer, least of all to the next.
      socket?.destroy();
      return false;
    },
  };

  function adopt(made: Socket): void {
    let failure: Error | undefined;
    socket = made;
    made.on('error', (error) => {
      failure = error;
    });
    made.on('end', () => made.destroy());
    // Only now no read can land any more.
    made.once('close', () => {
      if (socket !== made) return;
      socket = undefined;
      const told = reader;
      reader = undefined;
      told?.ended(failure);
    });
  }

  function open(callback: (error: Error | null) => void): void {
    if (isGone) {
      callback(new Error('given up'));
      return;
    }
    // A connection asks for memory as soon as it is made: not that of whoever read the one before.
    reader = undefined;
    const making = connector(onread);
    connecting = making;
    const { protocol, port } = origin;
    const hostname = origin.hostname.replace(/^\[|\]$/g, '');
    making.connect({ protocol, hostname, port }, (error, made) => {
      if (connecting === making) connecting = undefined;
      if (made) adopt(made);
      callback(error);
    });
  }

  return {
    head,
    connect(callback) {
      const kept = socket;
      if (!kept || kept.destroyed) {
        open(callback);
        return;
      }
      if (isQuiet) return callback(null);
      // The server may be about to close it, or to say what nobody asked for.
      afterTurn(() => (kept.destroyed ? open(callback) : callback(null)));
    },
    read(next) {
      reader = next;
      isQuiet = false;
      // Nobody waits for an idle one, least of all the process.
      if (next) socket?.ref();
      else {
        socket?.unref();
        const nth = ++answers;
        afterTurn(() => {
          isQuiet = !reader && nth === answers;
        });
      }
    },
    write: (text) => void socket?.write(text, 'latin1'),
    resume: () => void socket?.resume(),
    close: () => void socket?.destroy(),
    destroy() {
      isGone = true;
      connecting?.cancel();
      socket?.destroy();
    },
  };
}
