/** The labels of one series: their values, in the order of the metric's label names. */
type Values = readonly string[];

/** Numbers by labels: cheap to add to, read when somebody asks. */
export interface Tally {
  add(values: Values, amount?: number): void;
  /** Each series, its labels by name. */
  series(): readonly { labels: Record<string, string>; value: number }[];
  /** Forgets the series whose first label is one of these. */
  forget(first: ReadonlySet<string>): void;
}

/** A bound for what no list bounds: what is more counts as `other`. */
const mostSeries = 2_000;

/** @param names of its labels; the first is what {@link Tally.forget} goes by */
export function createTally(names: readonly string[]): Tally {
  const other = names.map(() => 'other');
  const others = other.join('\n');
  function add(values: Values, amount = 1): void {
    const key = values.join('\n');
    const known = series.get(key);
    // What began before anybody counted ends all the same.
    if (known) known.value = Math.max(known.value + amount, 0);
    else if (series.size < mostSeries || key === others) series.set(key, { values, value: Math.max(amount, 0) });
    else add(other, amount);
  }
  const series = new Map<string, { values: Values; value: number }>();
  return {
    add,
    series: () =>
      [...series.values()].map(({ values, value }) => ({
        labels: Object.fromEntries(names.map((name, index) => [name, values[index] ?? ''])),
        value,
      })),
    forget(first) {
      for (const [key, { values }] of series) if (key !== others && first.has(values[0] ?? '')) series.delete(key);
    },
  };
}
