import { ProxyCacheError } from '../runtime/errors.ts';
import type { Slabs } from '../runtime/slabs.ts';
import { type Coverage, createCoverage } from './coverage.ts';
import type { IngestEvent } from './events.ts';
import { bringPiece, type Piece, type PieceParts, type SegmentedBlob } from './segment.ts';
import type { LinkPlace } from './segment-link.ts';
import type { SpoolFile } from './spool-file.ts';

/** The connections that bring parts of a blob from its end, while another brings it from its beginning. */
export interface Segments {
  /** Opens one more, where there is something for it to bring. */
  open(): boolean;
  /** Closes the one opened last; what it has not brought is asked for again. */
  closeLast(): void;
  /** How many there are, also those that bring nothing yet; and how many have begun. */
  count(): number;
  bringing(): number;
  readonly coverage: Pick<Coverage, 'takenFrom' | 'isComing'>;
  /**
   * Sees to it that all from `position` on is here, or is being brought by those that have begun: `filling` while some of it
   * is asked for, `missing` where the upstream does not give it.
   */
  fill(position: number): 'covered' | 'filling' | 'missing';
  /** What comes before this byte is brought otherwise: those that have not begun it are closed. */
  passed(position: number): void;
  /** Resolves when anything is other than it was. */
  changed(): Promise<void>;
  /** Why the blob can be kept no longer. */
  readonly failure: ProxyCacheError | undefined;
  /** Closes all, and resolves when none of them touches the file any more. */
  close(): Promise<void>;
}

/** What {@link createSegments} works with. */
export interface SegmentsParts extends Pick<PieceParts, 'clock' | 'signal'> {
  file: SpoolFile;
  link: LinkPlace;
  /** Whether all hosts of the upstream are well. */
  isCalm(): boolean;
  observe(event: IngestEvent): void;
  /** The byte that readers wait for. */
  awaited(): number;
  slabs: Slabs;
}

/** What breaks again and again is brought by one connection, which knows how to wait. */
const mostBreaks = 4;
// In vain one after the other: each may have taken as long as an upstream may be silent, and readers wait meanwhile.
const mostBarren = 3;
const bytesPerBreak = 16 * 1024 * 1024;
/** How long an upstream that gives no parts is not asked for any; one that has enough, where it does not say. */
const refusedForMs = 10 * 60_000;
const limitedForMs = 60_000;

interface Worker {
  begun: boolean;
  piece: Piece | undefined;
  ended: Promise<void>;
}

/** Makes them, none so far. */
export function createSegments(
  blob: SegmentedBlob & { repository: string; digest: string },
  parts: SegmentsParts,
): Segments {
  const { upstream, repository, digest, total } = blob;
  const { file, link, clock, observe, slabs } = parts;
  const coverage = createCoverage(file, total);
  const { pieces } = coverage;
  const workers = new Map<AbortController, Worker>();
  let breaks = 0;
  let barren = 0;
  let brought = 0;
  let broughtBefore = 0;
  let over = false;
  let isRefused = false;
  let failure: ProxyCacheError | undefined;
  let waiting: (() => void)[] = [];

  function wake(): void {
    const woken = waiting;
    waiting = [];
    for (const waiter of woken) waiter();
  }

  function tell(error?: string): void {
    const segments = bringing();
    observe({
      type: 'segments-changed',
      upstream,
      repository,
      digest,
      segments,
      ...(error !== undefined && { error }),
    });
  }

  const breaksBorne = () => mostBreaks + brought / bytesPerBreak;

  const bringing = () => [...workers.values()].filter(({ begun }) => begun).length;

  /** What nobody brings, of which the first connection has a gap to itself: its end is what others bring. */
  function next(): Piece | undefined {
    const from = parts.awaited();
    const [first, ...others] = coverage.gaps(from);
    const own = first?.from === from ? first : undefined;
    // What one that broke off has left first: else it would be missing at the end.
    const span = (own ? others[0] : first) ?? (own && link.piece(own));
    return span && { ...span, at: span.from, isBegun: false };
  }

  function open(): boolean {
    const piece = over || !parts.isCalm() ? undefined : next();
    if (piece) start(piece);
    return piece !== undefined;
  }

  function start(piece: Piece): void {
    const controller = new AbortController();
    const worker: Worker = { begun: false, piece: undefined, ended: Promise.resolve() };
    workers.set(controller, worker);
    worker.ended = work(piece, worker, controller);
  }

  async function work(first: Piece, worker: Worker, controller: AbortController): Promise<void> {
    const signal = AbortSignal.any([parts.signal, controller.signal]);
    let error: string | undefined;
    try {
      for (let piece: Piece | undefined = first; piece; ) {
        error = await bring(piece, worker, signal);
        const goesOn = error === undefined && !over && !signal.aborted && link.keeps() && parts.isCalm();
        piece = goesOn ? next() : undefined;
      }
    } catch (cause) {
      if (!signal.aborted) fail(cause);
    } finally {
      workers.delete(controller);
      if (worker.begun || error !== undefined) tell(error);
      wake();
    }
  }

  /** @returns why it goes on no more */
  async function bring(piece: Piece, worker: Worker, signal: AbortSignal): Promise<string | undefined> {
    pieces.add(piece);
    worker.piece = piece;
    try {
      const end = await bringPiece(piece, blob, {
        clock,
        signal,
        async place(chunks, position) {
          await file.place(chunks, position);
          for (const chunk of chunks) {
            brought += chunk.byteLength;
            slabs.give(chunk);
          }
        },
        came: link.came,
        moved() {
          if (!worker.begun) {
            worker.begun = true;
            tell();
          }
          wake();
        },
        isAwaited: () => parts.awaited() === piece.at,
      });
      if (end.kind === 'brought') return undefined;
      if (end.kind === 'broke') {
        breaks++;
        barren = brought > broughtBefore ? 0 : barren + 1;
        broughtBefore = brought;
        over ||= breaks > breaksBorne() || barren >= mostBarren;
        link.failed();
        return end.error.message;
      }
      over = true;
      isRefused = true;
      const ms = end.retryAt === undefined ? refusedForMs : Math.max(end.retryAt - clock.now(), limitedForMs);
      link.refused(clock.monotonic() + ms);
      return end.why;
    } finally {
      pieces.delete(piece);
      worker.piece = undefined;
    }
  }

  function fail(cause: unknown): void {
    const message = `cannot write the spool: ${cause instanceof Error ? cause.message : String(cause)}`;
    failure ??= new ProxyCacheError('storage-failed', message, { cause });
    over = true;
  }

  return {
    open,
    closeLast: () => [...workers.keys()].at(-1)?.abort(new Error('its connection is needed by others')),
    count: () => workers.size,
    bringing,
    coverage,
    fill(position) {
      if (coverage.isAsked()) return 'filling';
      const missing = coverage.gaps(position)[0];
      // Those that broke off ever again may do so once more.
      if (!missing) return over && pieces.size > 0 ? 'filling' : 'covered';
      // More patient than with new ones: what is here already would else come once more.
      if (isRefused || barren >= mostBarren || breaks > 2 * breaksBorne()) return 'missing';
      start({ ...missing, at: missing.from, isBegun: false });
      return 'filling';
    },
    passed(position) {
      for (const [controller, { piece }] of workers) {
        if (piece && !piece.isBegun && piece.from < position) controller.abort(new Error('it came too late'));
      }
    },
    changed: () => new Promise((resolve) => waiting.push(resolve)),
    get failure() {
      return failure;
    },
    async close() {
      over = true;
      const ended = [...workers.values()].map((worker) => worker.ended);
      for (const controller of workers.keys()) controller.abort(new Error('the transfer is over'));
      wake();
      await Promise.all(ended);
    },
  };
}
