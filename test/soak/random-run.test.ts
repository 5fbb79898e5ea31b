import { expect, test } from 'vitest';
import { runSoak } from './soak-run.ts';

// What is random is the same each time, so that a failure here is a failure everywhere. Another run: SOAK_SEED.
const seed = Number(process.env['SOAK_SEED'] ?? 20_261_122);
const steps = Number(process.env['SOAK_STEPS'] ?? 350);

test(`a random run of ${steps} steps (seed ${seed}) breaks no promise`, { timeout: 600_000 }, async () => {
  const figures = await runSoak({ seed, steps, ...(process.env['SOAK_LOG'] && { log: console.log }) });
  console.log(JSON.stringify(figures));
  expect(figures.owed).toBeGreaterThan(steps / 2);
});
