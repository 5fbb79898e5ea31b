import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { CountReporter } from './test/count-reporter.ts';

export default defineConfig({
  test: {
    include: ['packages/*/src/**/*.test.ts', 'examples/*/src/**/*.test.ts', 'test/**/*.test.ts'],
    // Many files wait for others more than they work: two at a time also where there are two processors.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    reporters: ['default', new CountReporter()],
    testTimeout: 20_000,
    hookTimeout: 60_000,
  },
});
