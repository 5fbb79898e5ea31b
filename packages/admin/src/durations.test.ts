import * as client from 'prom-client';
import { expect, test } from 'vitest';
import { createDurations } from './durations.ts';

const bounds = [0.001, 0.1, 1];

test('durations are the same lines as those of a histogram of prom-client', async () => {
  const registry = new client.Registry();
  const histogram = new client.Histogram({
    ...{ name: 'took', help: 'How long', labelNames: ['kind', 'cache'], buckets: bounds },
    registers: [registry],
  });
  const durations = createDurations('took', ['kind', 'cache'], bounds);
  for (const [kind, seconds] of [
    ['blob', 0.0001],
    ['blob', 0.001],
    ['blob', 0.5],
    ['tags', 1],
    ['tags', 30],
  ] as const) {
    histogram.observe({ kind, cache: 'hit' }, seconds);
    durations.add([kind, 'hit'], seconds);
  }
  const sorted = (lines: readonly { metricName?: string; labels: object; value: number }[]) =>
    lines.map(({ metricName, labels, value }) => [metricName, Object.entries(labels).sort(), value]);
  const { values } = await histogram.get();
  expect(sorted(durations.lines())).toEqual(sorted(values));
});
