import { attempt } from '../runtime/attempt.ts';
import { createBuffers } from '../runtime/buffers.ts';
import type { Clock } from '../runtime/clock.ts';
import { createFlights } from '../runtime/collapse.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import { pause } from '../runtime/pause.ts';
import type { BlobStore } from '../store/blob-store.ts';
import type { StoreEvent } from '../store/events.ts';
import type { MetadataStore } from '../store/metadata-store.ts';
import { type BlobsReport, scrubBlobs } from '../store/scrub-blobs.ts';
import { type RecordsReport, scrubRecords } from './scrub-records.ts';

/** Options of a scrub. */
export interface ScrubOptions {
  /** Ends the wait; the scrub ends with the last who waits for it. */
  signal?: AbortSignal;
  /** Called after each blob and record, synchronously, with what was found so far. What it throws, or rejects with, is dropped. */
  onProgress?: (soFar: ScrubReport) => void;
  /** Read no more bytes of blobs than this in a second; of several who wait, the least holds. Default: no limit. */
  bytesPerSecond?: number;
}

/** What a scrub found. */
export interface ScrubReport {
  blobs: BlobsReport;
  records: RecordsReport;
  durationMs: number;
}

/** The scrubs of one storage: one at a time. */
export interface Scrubs {
  run(options: ScrubOptions): Promise<ScrubReport>;
  /** Ends what runs. Never rejects. */
  close(): Promise<void>;
}

/** What {@link createScrubs} works with. */
export interface ScrubParts {
  blobs: BlobStore;
  metadata: MetadataStore;
  clock: Clock;
  observe(event: StoreEvent): void;
}

/** One pooled buffer: a scrub reads one blob at a time. */
const bufferBytes = 256 * 1024;

export function createScrubs(parts: ScrubParts): Scrubs {
  const { clock, observe } = parts;
  const flights = createFlights<ScrubReport>();
  const closing = new AbortController();
  const waiters = new Set<Pick<ScrubOptions, 'onProgress'> & { bytesPerSecond: number }>();
  let last: Promise<unknown> = Promise.resolve();

  async function scrub(signal: AbortSignal): Promise<ScrubReport> {
    const startedAt = clock.monotonic();
    const report: ScrubReport = {
      blobs: { checked: 0, bytes: 0, flawed: 0, wrong: [] },
      records: { checked: 0, damaged: 0 },
      durationMs: 0,
    };
    const progress = () => {
      report.durationMs = clock.monotonic() - startedAt;
      for (const { onProgress } of waiters) attempt(() => onProgress?.(copyOf(report)));
    };
    let failure: unknown;
    try {
      const pace = createPace(clock, () => Math.min(...[...waiters].map((waiter) => waiter.bytesPerSecond)), signal);
      const buffers = createBuffers(bufferBytes);
      await scrubBlobs({ blobs: parts.blobs, buffers, observe, pace, progress }, report.blobs, signal);
      await scrubRecords({ metadata: parts.metadata, observe, progress }, report.records, signal);
    } catch (error) {
      failure = error;
    }
    report.durationMs = clock.monotonic() - startedAt;
    const outcome = failure === undefined ? 'finished' : signal.aborted ? 'stopped' : 'failed';
    observe({
      type: 'scrub-ended',
      outcome,
      blobs: report.blobs.checked,
      bytes: report.blobs.bytes,
      flawed: report.blobs.flawed,
      records: report.records.checked,
      damaged: report.records.damaged,
      durationMs: report.durationMs,
      ...(outcome === 'failed' && { error: failure instanceof Error ? failure.message : String(failure) }),
    });
    if (failure !== undefined) throw failure;
    return report;
  }

  return {
    async run({ signal, onProgress, bytesPerSecond = Number.POSITIVE_INFINITY }) {
      if (closing.signal.aborted) throw closing.signal.reason;
      const waiter = { ...(onProgress && { onProgress }), bytesPerSecond };
      waiters.add(waiter);
      const work = (signalOfAll: AbortSignal) => {
        // One that was left may still be at its last read.
        const run = last.then(() => scrub(AbortSignal.any([signalOfAll, closing.signal])));
        last = run.catch(() => undefined);
        return run;
      };
      try {
        return await flights.join('', work, signal);
      } finally {
        waiters.delete(waiter);
      }
    },
    async close() {
      closing.abort(new ProxyCacheError('closed', 'the cache is closed'));
      await last;
    },
  };
}

function copyOf({ blobs, records, durationMs }: ScrubReport): ScrubReport {
  return { blobs: { ...blobs, wrong: [...blobs.wrong] }, records: { ...records }, durationMs };
}

/** How long it is before a wait is measured anew: whoever wanted it that slow may have left. */
const longestPauseMs = 1_000;

/** Waits after each piece for as long as it may take at that rate; what was slower earns no haste later. */
function createPace(clock: Clock, bytesPerSecond: () => number, signal: AbortSignal): (bytes: number) => Promise<void> {
  let until = clock.monotonic();
  return async (bytes) => {
    const from = Math.max(until, clock.monotonic());
    for (;;) {
      until = from + (bytes / bytesPerSecond()) * 1_000;
      const left = until - clock.monotonic();
      if (left <= 0) return;
      await pause(Math.min(left, longestPauseMs), clock, signal);
    }
  };
}
