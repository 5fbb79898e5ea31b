import { expect, test } from 'vitest';
import { runKills } from './kill-rounds.ts';

const seed = Number(process.env['SOAK_SEED'] ?? 20_261_122);
const rounds = Number(process.env['SOAK_KILLS'] ?? 8);

test(`${rounds} rounds of kill -9 during pulls (seed ${seed}) leave nothing wrong and lose nothing that was acknowledged`, {
  timeout: 600_000,
}, async () => {
  const figures = await runKills({ seed, rounds });
  console.log(JSON.stringify(figures));
  expect(figures.acknowledged).toBeGreaterThan(0);
  expect(figures.cut).toBeGreaterThan(0);
});
