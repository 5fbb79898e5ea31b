import type { Daemon } from './daemon.ts';

/** A server of the tests that can be ended and started again, and stand still. */
export interface Restartable {
  /** Process id while it runs. */
  pid(): number;
  /** SIGTERM. */
  stop(): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Starts it again after `stop` or `kill`. */
  start(): Promise<void>;
  /** Stands still by SIGSTOP: its connections stay, and nothing answers. */
  freeze(): void;
  thaw(): void;
  /** Polls until `check` gives true, while it runs. */
  until(check: () => Promise<boolean>): Promise<void>;
}

/** A daemon that runs, and how it is started again. */
export function restartable(first: Daemon, startAgain: () => Promise<Daemon>): Restartable {
  let daemon: Daemon | undefined = first;
  return {
    pid: () => daemon?.pid ?? -1,
    async stop() {
      await daemon?.stop();
      daemon = undefined;
    },
    async kill() {
      await daemon?.kill();
      daemon = undefined;
    },
    async start() {
      daemon = await startAgain();
    },
    freeze: () => void daemon?.signal('SIGSTOP'),
    thaw: () => void daemon?.signal('SIGCONT'),
    until: async (check) => await daemon?.until(check),
  };
}
