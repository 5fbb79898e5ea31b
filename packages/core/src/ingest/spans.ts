/** A stretch of bytes: from `from` on, up to before `end`. */
export interface Span {
  from: number;
  end: number;
}

/** Stretches of bytes of which no two overlap or touch. */
export interface Spans {
  /** Adds one, which may overlap with others. */
  add(span: Span): void;
  /** Up to before which byte all from `position` on is in it: `position` itself where that byte is not. */
  endFrom(position: number): number;
  /** Lets go of what lies before `position`. */
  cut(position: number): void;
  /** In order. */
  list(): readonly Readonly<Span>[];
  /** All their bytes. */
  readonly size: number;
}

export function createSpans(): Spans {
  let spans: Span[] = [];
  let size = 0;

  function replace(next: Span[]): void {
    spans = next;
    size = 0;
    for (const { from, end } of next) size += end - from;
  }

  return {
    add(span) {
      if (span.end <= span.from) return;
      const joined = { ...span };
      const apart: Span[] = [];
      for (const other of spans) {
        if (other.end < joined.from || joined.end < other.from) apart.push(other);
        else {
          joined.from = Math.min(joined.from, other.from);
          joined.end = Math.max(joined.end, other.end);
        }
      }
      replace([...apart, joined].sort((one, other) => one.from - other.from));
    },
    endFrom(position) {
      const found = spans.find(({ from, end }) => from <= position && position < end);
      return found?.end ?? position;
    },
    cut(position) {
      if (spans[0] === undefined || spans[0].from >= position) return;
      replace(
        spans.filter(({ end }) => end > position).map(({ from, end }) => ({ from: Math.max(from, position), end })),
      );
    },
    list: () => spans,
    get size() {
      return size;
    },
  };
}

/** What of `within` is in none of these, in order. */
export function gapsOf(taken: Iterable<Readonly<Span>>, within: Span): Span[] {
  const gaps: Span[] = [];
  let { from } = within;
  const inOrder = [...taken].filter((span) => span.from < span.end).sort((one, other) => one.from - other.from);
  for (const span of inOrder) {
    const end = Math.min(span.from, within.end);
    if (from < end) gaps.push({ from, end });
    from = Math.max(from, span.end);
  }
  if (from < within.end) gaps.push({ from, end: within.end });
  return gaps;
}
