import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { type Clock, systemClock } from './clock.ts';

/** Worker threads that work for this one, in sessions. */
export interface Threads {
  /**
   * Begins a session with the thread that has the fewest of them.
   *
   * @param kind what the thread is to do
   * @param init what it needs for that, cloned
   * @returns our end, to be closed when the session is over; it closes by itself when the thread ends before. Listened to,
   * it keeps the process alive until `unref()`. `undefined`: there is no thread
   */
  open(kind: string, init: unknown): MessagePort | undefined;
  /** Whether there is a thread, or may be one. */
  canOpen(): boolean;
  /** Ends all sessions and threads; none begins any more. */
  close(): Promise<void>;
}

/** What a thread gets to begin a session with. */
export interface Session {
  kind: string;
  port: MessagePort;
  init: unknown;
}

/** What a thread says to its parent port when it takes sessions. */
export const threadReady = 'proxycache thread';

/** How threads are made. */
export interface ThreadsOptions {
  /**
   * Where the module is that they run: it says {@link threadReady}, and gets each {@link Session}, over its parent port. Asked
   * for when a thread starts; what it throws is that no thread can.
   */
  entry: () => URL;
  /** How many there are at most. */
  count: number;
  /** Called once for each that could not be started, or ended by itself: there is one less from then on. */
  failed(cause: unknown): void;
  /** Default: the machine's. */
  clock?: Clock;
}

// A bundler may have put another module there, which never answers.
const readyWithinMs = 15_000;

interface Thread {
  worker: Worker;
  ports: Set<MessagePort>;
}

// A thread runs our module and nothing of the host's: no --import, no --inspect-brk, no NODE_OPTIONS. What it works on
// lies outside of these heaps.
const ours = {
  name: 'proxycache',
  env: {},
  execArgv: [],
  argv: [],
  resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 8, stackSizeMb: 4 },
};

/** Threads that start when a session needs one. They never keep the process alive. */
export function createThreads({ entry, count, failed, clock = systemClock }: ThreadsOptions): Threads {
  const threads = new Set<Thread>();
  let left = count;

  function start(): Thread | undefined {
    left--;
    try {
      const thread = { worker: new Worker(entry(), ours), ports: new Set<MessagePort>() };
      watch(thread);
      return thread;
    } catch (cause) {
      // Node's permission model, for one, or a bundle that knows no place of its own.
      failed(cause);
      return undefined;
    }
  }

  function watch(thread: Thread): void {
    const { worker, ports } = thread;
    let cause: unknown;
    threads.add(thread);
    const cancelWait = clock.after(readyWithinMs, () => {
      cause = new Error(`what it runs did not begin within ${readyWithinMs / 1000} s`);
      void worker.terminate();
    });
    worker.on('message', (message) => {
      if (message === threadReady) cancelWait();
    });
    // Whoever listens has it keep the process alive again.
    worker.unref();
    worker.on('error', (error) => {
      cause = error;
    });
    worker.on('exit', (code) => {
      cancelWait();
      const isExpected = !threads.delete(thread);
      for (const port of ports) port.close();
      if (!isExpected) failed(cause ?? new Error(`it ended with exit code ${code}`));
    });
  }

  function leastBusy(): Thread | undefined {
    const [least] = [...threads].sort((a, b) => a.ports.size - b.ports.size);
    return (left > 0 && (least?.ports.size ?? 1) > 0 ? start() : undefined) ?? least;
  }

  return {
    open(kind, init) {
      const thread = leastBusy();
      if (!thread) return undefined;
      const { port1: port, port2 } = new MessageChannel();
      thread.ports.add(port);
      port.on('close', () => thread.ports.delete(port));
      thread.worker.postMessage({ kind, port: port2, init } satisfies Session, [port2]);
      return port;
    },
    canOpen: () => threads.size > 0 || left > 0,
    async close() {
      left = 0;
      const ending = [...threads];
      threads.clear();
      await Promise.all(ending.map(({ worker }) => worker.terminate()));
    },
  };
}

/** What to tell of a thread that could not be started, or ended by itself. */
export function threadEnded(cause: unknown): string {
  const why = cause instanceof Error ? cause.message : String(cause);
  return `a worker thread could not run, its work is done on the host's own thread: ${why}`;
}
