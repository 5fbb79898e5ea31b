import { parseArgs } from 'node:util';

export const usage = `npm run bench -- [part...] [options]

Parts: PARTS. Without one, all.

  --rounds N       rounds in which the contestants take turns (5)
  --short          smaller content, shorter loads, 2 rounds: a look, in some minutes
  --only A,B       these contestants alone, of us, bare, nginx, registry
  --ours DIR       another built checkout as a further contestant, us:DIR; may be given again
  --json FILE      writes every figure there
  --write          writes the tables into docs/benchmarks.md and the chart beside it
`;

/** What the command line asks for. */
export interface BenchOptions {
  help: boolean;
  parts: readonly string[];
  rounds: number;
  isShort: boolean;
  only: readonly string[] | undefined;
  checkouts: readonly string[];
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
      only: { type: 'string' },
      ours: { type: 'string', multiple: true, default: [] },
      json: { type: 'string' },
      write: { type: 'boolean', default: false },
    },
  });
  const unknown = positionals.find((part) => !known.includes(part));
  if (unknown !== undefined) throw new Error(`${unknown} is no part; there are ${known.join(', ')}`);
  const rounds = Number(values.rounds ?? (values.short ? 2 : 5));
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds: expected 1 or more, got ${values.rounds}`);
  return {
    help: values.help,
    parts: positionals.length === 0 ? known : positionals,
    rounds,
    isShort: values.short,
    only: values.only?.split(','),
    checkouts: values.ours,
    json: values.json,
    write: values.write,
  };
}
