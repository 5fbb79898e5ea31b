import type { Bench } from '../bench.ts';
import type { Image } from '../content.ts';
import { directContestant } from '../contestants/direct.ts';
import type { Performer, Stage } from '../stage.ts';
import { pull } from './pull.ts';

/** Round by round each cache anew, and the upstream itself, each after it has served `before`. */
export async function cachesInTurn(
  bench: Bench,
  stage: Stage,
  { before, perform }: { before: Image; perform: (performer: Performer) => Promise<void> },
): Promise<void> {
  for (let round = 0; round < bench.rounds; round++) {
    bench.tell(`round ${round + 1}`);
    for (const contestant of [directContestant, ...bench.contestants.filter(({ isCache }) => isCache)]) {
      const performer = await stage.start(contestant);
      await pull(bench, stage, { performer, image: before });
      await perform(performer);
      await performer.stop();
    }
  }
}
