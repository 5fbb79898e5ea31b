import { resolve } from 'node:path';
import { requireProgram } from '../system.ts';
import { bareContestant } from './contestants/bare.ts';
import type { Contestant, OurOptions } from './contestants/contestant.ts';
import { nginxContestant } from './contestants/nginx.ts';
import { ourContestant } from './contestants/ours.ts';
import { registryContestant } from './contestants/registry.ts';

/** Who is asked for: some of those there are (all without a word), and further forms of ours. */
interface Candidates {
  only: readonly string[] | undefined;
  checkouts: readonly string[];
  variants: readonly OurOptions[];
}

/** Who takes part, in the order of their turns. @throws Error for a name that is nobody's */
export function lineup({ only, checkouts, variants }: Candidates): readonly Contestant[] {
  const registry = requireProgram('docker-registry');
  const nginx = requireProgram('nginx', 'nginx-light');
  const all = [
    ...(registry === undefined ? [] : [registryContestant(registry)]),
    ...(nginx === undefined ? [] : [nginxContestant(nginx)]),
    bareContestant,
    ourContestant({}),
  ];
  const unknown = only?.find((name) => !all.some((contestant) => contestant.name === name));
  if (unknown !== undefined) throw new Error(`--only: ${unknown} is none of ${all.map(({ name }) => name).join(', ')}`);
  const asked = all.filter(({ name }) => only === undefined || only.includes(name));
  return [
    ...asked,
    ...checkouts.map((folder) => ourContestant({ checkout: resolve(folder) })),
    ...variants.map((options) => ourContestant({ options })),
  ];
}
