import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import { CountReporter } from './test/count-reporter.ts';

const apart = unitTestsApart();

export default defineConfig({
  test: {
    // Many files wait for others more than they work: two at a time also where there are two processors.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    reporters: ['default', new CountReporter()],
    testTimeout: 20_000,
    hookTimeout: 60_000,
    // What is waited for comes; on a busy machine it takes its time.
    expect: { poll: { timeout: 15_000 } },
    projects: [
      {
        extends: true,
        // To load the library anew for each of so many small files takes longer than most of them.
        test: { name: 'units', include: ['packages/*/src/**/*.test.ts'], exclude: apart, isolate: false },
      },
      {
        extends: true,
        test: { name: 'whole', include: ['examples/*/src/**/*.test.ts', 'test/**/*.test.ts', ...apart] },
      },
    ],
  },
});

/** The unit tests that change what all files of a process share: they have one of their own. */
function unitTestsApart(): string[] {
  const folder = join(import.meta.dirname, 'packages');
  return readdirSync(folder)
    .flatMap((name) =>
      readdirSync(join(folder, name, 'src'), { recursive: true }).map((path) => join(name, 'src', `${path}`)),
    )
    .filter((path) => path.endsWith('.test.ts'))
    .filter((path) => /\bvi\.|\bprocess\.(on|once|env)\b/.test(readFileSync(join(folder, path), 'utf8')))
    .map((path) => `packages/${path}`);
}
