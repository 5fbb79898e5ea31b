import { expect, test } from 'vitest';
import { runKills } from './kill-rounds.ts';
import { runLoad } from './load.ts';
import { runSoak } from './soak-run.ts';

// `npm run soak`. Other sizes: SOAK_SEED, SOAK_STEPS, SOAK_KILLS, SOAK_SECONDS.

const of = (name: string, usual: number) => Number(process.env[name] ?? usual);
const seed = of('SOAK_SEED', Date.now() % 1_000_000_000);
const steps = of('SOAK_STEPS', 10_000);
const kills = of('SOAK_KILLS', 200);
const seconds = of('SOAK_SECONDS', 120);

function tell(what: string, figures: object): void {
  process.stdout.write(`${what}, seed ${seed}: ${JSON.stringify(figures)}\n`);
}

test(`${steps} random steps break no promise, and memory stays what it is`, async () => {
  const early = Math.floor(steps / 5);
  const log = process.env['SOAK_LOG'] ? (line: string) => void process.stdout.write(`${line}\n`) : undefined;
  const figures = await runSoak({ seed, steps, measureAt: [early, steps], ...(log && { log }) });
  tell('random steps', figures);
  expect(globalThis.gc).toBeDefined();
  expect(figures.memory[steps]! / figures.memory[early]!).toBeLessThanOrEqual(1.1);
});

test(`${kills} kills leave nothing wrong and lose nothing that was acknowledged`, async () => {
  tell('kills', await runKills({ seed, rounds: kills }));
});

test(`${seconds} s of load with faults fail no pull`, async () => {
  const figures = await runLoad({ seed, seconds, clients: 24 });
  tell('load', figures);
  expect(figures.pulls).toBeGreaterThan(0);
});
