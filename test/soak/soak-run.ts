import type { Figures } from './figures.ts';
import { createPlayer } from './player.ts';
import { createRandom } from './random.ts';
import { startStand } from './stand.ts';
import { Violation } from './violation.ts';

export interface RunOptions {
  seed: number;
  steps: number;
  /** At which of them memory is measured; needs `--expose-gc`. */
  measureAt?: readonly number[];
  log?: (line: string) => void;
}

const kept = 60;

/**
 * Plays so many random steps: clients, faults, changes of content, restarts.
 *
 * @throws Violation with the seed, the step and the last actions
 */
export async function runSoak({ seed, steps, measureAt = [], log }: RunOptions): Promise<Figures> {
  const random = createRandom(seed);
  const stand = await startStand();
  const figures: Figures = {
    steps: 0,
    requests: 0,
    statuses: {},
    owed: 0,
    broken: 0,
    left: 0,
    restarts: 0,
    blobsChecked: 0,
    memory: {},
  };
  const lines: string[] = [];
  function note(line: string): void {
    lines.push(`${figures.steps}: ${line}`);
    if (lines.length > kept) lines.shift();
    log?.(`${figures.steps}: ${line}`);
  }
  try {
    const player = createPlayer(stand, random, { figures, note });
    for (figures.steps = 1; figures.steps <= steps; figures.steps++) {
      await player.step();
      if (measureAt.includes(figures.steps)) {
        await player.settle();
        stand.cdn.expire();
        figures.memory[figures.steps] = (await measure()) - player.weight();
      }
    }
    figures.steps = steps;
    await player.settle();
    await stand.end();
    return figures;
  } catch (error) {
    const { message, stack } = error as Error;
    const what = error instanceof Violation ? message : `${stack}`;
    throw new Violation(
      `SOAK_SEED=${seed} SOAK_STEPS=${figures.steps}: ${what}\nThe last actions:\n  ${lines.join('\n  ')}\nBroken bodies:\n  ${[...stand.errors, ...stand.defects.slice(-2)].join('\n  ')}\nEvents:\n  ${stand.events
        .slice(-30)
        .map((event) => JSON.stringify(event))
        .join('\n  ')}`,
    );
  }
}

/** Heap and external memory after a collection. Needs `--expose-gc`. */
export async function measure(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
