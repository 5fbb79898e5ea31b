import type { ProxyCacheEvent } from '@proxycache/core';
import { destination, type Logger, pino } from 'pino';

/** A log, and a way to have it written before the process ends. */
export interface Log {
  logger: Logger;
  /**
   * Takes no more lines.
   *
   * @returns whether those that it has are written, or have no reader; `false` where they cannot be: nothing of them for so long
   */
  finish(stalledForMs: number): Promise<boolean>;
}

// JSON keeps nothing of an error's message. A defect (`err`) has a stack as well.
const serializers = { error: (error: unknown) => (error instanceof Error ? error.message : error) };

/**
 * JSON lines to stderr, so that stdout has nothing but the line that says where the server listens.
 *
 * @param fields that each line has
 */
export function createLog(level: string, fields: Readonly<Record<string, unknown>> = {}): Log {
  // Written in the background. Lines are dropped when a reader of stderr that stands still is this far behind.
  const stream = destination({ dest: 2, sync: false, maxLength: 16 * 2 ** 20 });
  let isClosed = false;
  // A log that nobody reads any more must not end the server.
  stream.on('error', (error: NodeJS.ErrnoException) => {
    isClosed ||= error.code === 'EPIPE';
  });
  const logger = pino(
    {
      level,
      base: fields,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers,
    },
    // Of a whole stream pino would have a fatal line written before it goes on, however long that takes.
    { write: (line) => void stream.write(line) },
  );
  return {
    logger,
    finish(stalledForMs) {
      logger.level = 'silent';
      if (isClosed) return Promise.resolve(true);
      return new Promise((done) => {
        const end = (isDone: boolean) => {
          clearTimeout(timer);
          done(isDone);
        };
        const timer = setTimeout(end, stalledForMs, false);
        stream.on('write', () => timer.refresh());
        stream.once('drain', () => end(true)).once('error', () => end(isClosed));
        // It has a 'drain' also where all is written already. `flush` has none with this kind of stream.
        stream.write('');
      });
    },
  };
}

/**
 * An observer that writes a line for each event: what needs somebody's attention as a warning, that a host is back and who
 * pulled what as information, the rest for debugging.
 */
export function logEvents(logger: Logger): (event: ProxyCacheEvent) => void {
  return (event) => {
    const level = needsAttention(event) ? 'warn' : isTold(event) ? 'info' : 'debug';
    if (!logger.isLevelEnabled(level)) return;
    if (event.type === 'warning') return logger.warn(event.message);
    const { type, ...fields } = event;
    logger[level](fields, type);
  };
}

function isTold(event: ProxyCacheEvent): boolean {
  const isRecovery = (event.type === 'breaker-changed' && event.state === 'closed') || event.type === 'upload-done';
  const isRemoval = event.type === 'sweep-ended' && event.tags + event.manifests + event.blobs + event.files > 0;
  // Who owns a repository of a group is decided once, and for long.
  const isOwnership = event.type === 'group-pinned' || event.type === 'group-unpinned';
  // An audit is there because it was asked for.
  return isRecovery || isRemoval || isOwnership || event.type === 'pull' || event.type === 'upstream-changed';
}

function needsAttention(event: ProxyCacheEvent): boolean {
  switch (event.type) {
    case 'warning':
    case 'credentials-rejected':
    case 'upstream-unusable':
    case 'store-failed':
    case 'coordinator-failed':
    case 'peer-failed':
    case 'blob-quarantined':
    case 'upload-waiting':
    case 'passed-through':
    case 'quota-exceeded':
    case 'ingest-restarted':
    case 'access-failed':
    case 'endpoint-failed':
    case 'admission-failed':
    case 'sweep-paused':
      return true;
    case 'sweep-ended':
      return event.outcome === 'failed';
    case 'upstream-request':
      return event.error !== undefined;
    case 'breaker-changed':
      return event.state === 'open';
    case 'scrub-ended':
      return event.outcome === 'failed' || event.flawed > 0;
    case 'rate-limit':
      return event.low;
    case 'ingest-ended':
      return event.outcome === 'failed' || event.outcome === 'unstored';
    case 'request':
      // Of all others the server's own line says more.
      return event.defect !== undefined;
    case 'ingest-started':
    case 'ingest-resumed':
    case 'ingest-shared':
    case 'upload-done':
    case 'upstream-changed':
    case 'pull':
    case 'prefetch-paused':
    // The client's own line says why it got nothing.
    case 'admission':
    case 'repository-swept':
    case 'group-pinned':
    case 'group-unpinned':
    // What keeps segments from being used costs no more than their speed.
    case 'segments-changed':
    // Each failure has a line of its own, by its 'upstream-request'.
    case 'upstream-retried':
    case 'upstream-received':
    case 'response-ended':
      return false;
  }
}
