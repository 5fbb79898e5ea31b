/** A part of some content: bytes `from` to `to`, both included, counted from 0. */
export interface ByteRange {
  from: number;
  to: number;
}

/** A part as a client asks for it, before the size is known: `from-`, `from-to`, or the `last` n bytes (RFC 9110 14.1.2). */
export type RangeSpec = { from: number; to?: number } | { last: number };

/**
 * The parts of content of `size` bytes that the specs ask for, clamped to it, in the order given. None: unsatisfiable.
 *
 * Parts that overlap become one, in the place of the first, so that no byte is sent twice (RFC 9110 15.3.7.2). Parts that
 * only touch stay apart: containers/image asks for such and counts the parts it gets.
 */
export function satisfiableRanges(specs: readonly RangeSpec[], size: number): ByteRange[] {
  let ranges: ByteRange[] = [];
  for (const spec of specs) {
    const from = 'last' in spec ? Math.max(size - spec.last, 0) : spec.from;
    const to = 'last' in spec || spec.to === undefined ? size - 1 : Math.min(spec.to, size - 1);
    if (from <= to) ranges = include(ranges, { from, to });
  }
  return ranges;
}

/** Adds a part to parts of which no two overlap. */
function include(ranges: ByteRange[], added: ByteRange): ByteRange[] {
  const first = ranges.findIndex((range) => overlap(range, added));
  if (first < 0) {
    ranges.push(added);
    return ranges;
  }
  const merged = { ...added };
  const apart: ByteRange[] = [];
  for (const [index, range] of ranges.entries()) {
    if (index === first) apart.push(merged);
    if (overlap(range, added)) {
      merged.from = Math.min(merged.from, range.from);
      merged.to = Math.max(merged.to, range.to);
    } else {
      apart.push(range);
    }
  }
  return apart;
}

function overlap(a: ByteRange, b: ByteRange): boolean {
  return a.from <= b.to && b.from <= a.to;
}
