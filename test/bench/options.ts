import { parseArgs } from 'node:util';
import type { Extent } from './bench.ts';
import type { OurOptions } from './contestants/contestant.ts';

export const usage = `npm run bench -- [part...] [options]

Parts: PARTS. Without one, all.

  --rounds N       rounds in which the contestants take turns (5)
  --short          smaller content, shorter loads, 2 rounds: a look, in some minutes
  --million        also a store of a million records, which takes minutes to make
  --cells REGEXP   these cells alone, in the parts that measure one after the other (manifests, blobs, host, scale)
  --origin KIND    the upstream: nginx, which is faster than any registry (the default), or registry
  --only A,B       these contestants alone, of us, bare, nginx, registry
  --ours DIR       another built checkout as a further contestant, us:DIR; may be given again
  --with JSON      us with these options as a further contestant, us+JSON; those of the upstream under "upstream",
                   as in '{"maxIngests":8,"upstream":{"connections":16}}'; may be given again
  --json FILE      writes every figure there
  --from FILE      starts with the figures of an earlier run; with no part, measures nothing; may be given again
  --write          writes the tables into docs/benchmarks.md, and the chart beside it
`;

export type OriginKind = 'nginx' | 'registry';

/** What the command line asks for. */
export interface BenchOptions {
  help: boolean;
  parts: readonly string[];
  rounds: number;
  extent: Extent;
  isMillion: boolean;
  origin: OriginKind;
  cells: RegExp;
  only: readonly string[] | undefined;
  checkouts: readonly string[];
  /** Options of our library, each for a further contestant. */
  variants: readonly OurOptions[];
  from: readonly string[];
  json: string | undefined;
  write: boolean;
}

/** Reads the command line. @throws Error that says what is wrong with it */
export function parseOptions(args: readonly string[], known: readonly string[]): BenchOptions {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      help: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      short: { type: 'boolean', default: false },
      million: { type: 'boolean', default: false },
      origin: { type: 'string', default: 'nginx' },
      cells: { type: 'string', default: '' },
      only: { type: 'string' },
      ours: { type: 'string', multiple: true, default: [] },
      with: { type: 'string', multiple: true, default: [] },
      from: { type: 'string', multiple: true, default: [] },
      json: { type: 'string' },
      write: { type: 'boolean', default: false },
    },
  });
  const unknown = positionals.find((part) => !known.includes(part));
  if (unknown !== undefined) throw new Error(`${unknown} is no part; there are ${known.join(', ')}`);
  const rounds = Number(values.rounds ?? (values.short ? 2 : 5));
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds: expected 1 or more, got ${values.rounds}`);
  const { origin } = values;
  if (origin !== 'nginx' && origin !== 'registry')
    throw new Error(`--origin: expected nginx or registry, got ${origin}`);
  return {
    help: values.help,
    parts: positionals.length === 0 && values.from.length === 0 ? known : positionals,
    rounds,
    extent: values.short ? 'short' : 'full',
    isMillion: values.million,
    origin,
    cells: new RegExp(values.cells),
    only: values.only?.split(','),
    checkouts: values.ours,
    variants: values.with.map((text) => JSON.parse(text)),
    from: values.from,
    json: values.json,
    write: values.write,
  };
}
