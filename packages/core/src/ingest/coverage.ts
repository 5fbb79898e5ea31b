import type { Piece } from './segment.ts';
import { gapsOf, type Span } from './spans.ts';
import type { SpoolFile } from './spool-file.ts';

/** What of a blob is in its file ahead of its beginning, and what is being brought there. */
export interface Coverage {
  readonly pieces: Set<Piece>;
  /** What of all from `position` on is neither here nor asked for, in order. */
  gaps(position: number): readonly Span[];
  /** The first byte from `position` on that is here, or is being brought by one that has begun. */
  takenFrom(position: number): number;
  /** Whether this byte is being brought, or is asked for. */
  isComing(position: number): boolean;
  /** Whether some of it is asked for, without an answer so far. */
  isAsked(): boolean;
}

/** @param total the size of the blob */
export function createCoverage(file: Pick<SpoolFile, 'placed'>, total: number): Coverage {
  const pieces = new Set<Piece>();
  return {
    pieces,
    gaps(position) {
      const coming = [...pieces].map(({ at, end }) => ({ from: at, end }));
      return gapsOf([...file.placed.list(), ...coming], { from: position, end: total });
    },
    takenFrom(position) {
      if (file.placed.endFrom(position) > position) return position;
      let first = Number.POSITIVE_INFINITY;
      for (const { from } of file.placed.list()) if (from >= position) first = Math.min(first, from);
      for (const { at, isBegun } of pieces) if (isBegun && at >= position) first = Math.min(first, at);
      return first;
    },
    isComing: (position) => [...pieces].some(({ at, end }) => at <= position && position < end),
    isAsked: () => [...pieces].some(({ isBegun }) => !isBegun),
  };
}
