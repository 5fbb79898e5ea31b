/** A part of some content: bytes `from` to `to`, both included, counted from 0. */
export interface ByteRange {
  from: number;
  to: number;
}

/** A part as a client asks for it, before the size is known: `from-`, `from-to`, or the `last` n bytes (RFC 9110 14.1.2). */
export type RangeSpec = { from: number; to?: number } | { last: number };

/** The specs that content of `size` bytes can satisfy, clamped to it, in the order given. None: unsatisfiable. */
export function satisfiableRanges(specs: readonly RangeSpec[], size: number): ByteRange[] {
  const ranges: ByteRange[] = [];
  for (const spec of specs) {
    const from = 'last' in spec ? Math.max(size - spec.last, 0) : spec.from;
    const to = 'last' in spec || spec.to === undefined ? size - 1 : Math.min(spec.to, size - 1);
    if (from <= to) ranges.push({ from, to });
  }
  return ranges;
}
