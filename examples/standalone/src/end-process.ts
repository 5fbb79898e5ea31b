import type { Log } from './log.ts';

/** A reader of the log that took nothing for so long stands still. */
const logStalledForMs = 500;

/** Ends this process once its log is written, or without the rest of it where that cannot be written. */
export async function endProcess(code: number, log: Log | undefined): Promise<void> {
  if (log && !(await log.finish(logStalledForMs))) {
    // process.exit waits until it is written, and so for ever.
    process.kill(process.pid, 'SIGKILL');
    return;
  }
  process.exit(code);
}
