/** The middle of some figures, and their ends. */
export interface Spread {
  median: number;
  min: number;
  max: number;
}

/** The middle value; of an even number the mean of the two in the middle. @throws RangeError without values */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const low = sorted[Math.ceil(sorted.length / 2) - 1];
  const high = sorted[Math.floor(sorted.length / 2)];
  if (low === undefined || high === undefined) throw new RangeError('no values, no median');
  return (low + high) / 2;
}

/** The value that a share of the values is not above (nearest rank). @throws RangeError without values */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const value = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  if (value === undefined) throw new RangeError('no values, no quantile');
  return value;
}

/** @throws RangeError without values */
export function spread(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/**
 * How one contestant's figures stand to another's: the median of the ratios of each round. What the machine was busy with
 * in a round then counts for both.
 */
export function ratio(of: readonly number[], to: readonly number[]): number | undefined {
  const ratios = of.flatMap((value, round) => {
    const other = to[round];
    return other === undefined || other === 0 ? [] : [value / other];
  });
  return ratios.length === 0 ? undefined : median(ratios);
}

/** @throws RangeError without values */
export function geometricMean(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('no values, no mean');
  return Math.exp(values.reduce((total, value) => total + Math.log(value), 0) / values.length);
}
