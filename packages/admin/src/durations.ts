/** A line of a histogram, as `prom-client` writes it. */
export interface HistogramLine {
  metricName: string;
  labels: Readonly<Record<string, string | number>>;
  value: number;
}

/** Durations by labels, counted in buckets: cheaper to add to than `prom-client`'s own, which pulls would feel. */
export interface Durations {
  add(values: readonly string[], seconds: number): void;
  lines(): HistogramLine[];
}

interface Series {
  labels: Readonly<Record<string, string>>;
  /** How many were in each bucket, and above the last. */
  counts: number[];
  sum: number;
}

/** @param names of its labels, whose values are of short lists @param bounds of its buckets, in seconds, rising */
export function createDurations(name: string, names: readonly string[], bounds: readonly number[]): Durations {
  const series = new Map<string, Series>();

  function seriesOf(values: readonly string[]): Series {
    const key = values.join('\n');
    const known = series.get(key);
    if (known) return known;
    const labels = Object.fromEntries(names.map((label, index) => [label, values[index] ?? '']));
    const fresh = { labels, counts: Array<number>(bounds.length + 1).fill(0), sum: 0 };
    series.set(key, fresh);
    return fresh;
  }

  function linesOf({ labels, counts, sum }: Series): HistogramLine[] {
    let total = 0;
    const buckets = counts.map((count, index) => {
      total += count;
      return { metricName: `${name}_bucket`, labels: { ...labels, le: bounds[index] ?? '+Inf' }, value: total };
    });
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels, value: sum },
      { metricName: `${name}_count`, labels, value: total },
    ];
  }

  return {
    add(values, seconds) {
      const one = seriesOf(values);
      let bucket = 0;
      while (bucket < bounds.length && seconds > (bounds[bucket] as number)) bucket++;
      one.counts[bucket] = (one.counts[bucket] as number) + 1;
      one.sum += seconds;
    },
    lines: () => [...series.values()].flatMap(linesOf),
  };
}
