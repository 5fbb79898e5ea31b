import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { findProgram } from '../system.ts';
import type { Bench } from './bench.ts';
import { lineup } from './lineup.ts';
import { type BenchOptions, parseOptions, usage } from './options.ts';
import { partNames, parts, partsNamed } from './parts/parts.ts';
import { root } from './places.ts';
import { chartOf } from './report/chart.ts';
import { figuresOf } from './report/figures.ts';
import { describeMachine } from './report/machine.ts';
import { replaceMarked } from './report/marked.ts';
import { partsReport, targetsReport } from './report/report.ts';
import { createSamples, type Sample, type Samples } from './report/samples.ts';
import { findTools } from './tools.ts';

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2), partNames);
  if (options.help) {
    process.stdout.write(usage.replace('PARTS', partNames.join(', ')));
    return;
  }
  const samples = createSamples(options.from.flatMap((file): Sample[] => JSON.parse(readFileSync(file, 'utf8'))));
  if (options.parts.length > 0) await measure(options, samples);
  else print(partsReport(parts, samples.all(), '##'));
  print(targetsReport(samples.all()));
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(samples.all(), undefined, 1)}\n`);
  if (options.write) writePages(samples.all());
}

async function measure(options: BenchOptions, samples: Samples): Promise<void> {
  const folder = makeTemporaryFolder('bench');
  process.once('exit', () => removeFolder(folder));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  let folders = 0;
  const bench: Bench = {
    tools: await findTools(folder),
    contestants: lineup(options),
    rounds: options.rounds,
    extent: options.extent,
    isMillion: options.isMillion,
    wants: (cell) => options.cells.test(cell),
    newFolder(name) {
      const path = join(folder, `${++folders}-${name}`);
      mkdirSync(path);
      return path;
    },
    record: samples.add,
    tell: (line) => process.stderr.write(`  ${line}\n`),
  };
  for (const part of partsNamed(options.parts)) {
    process.stderr.write(`${part.title}\n`);
    await part.run(bench);
    print(partsReport([part], samples.all(), '##'));
  }
}

function writePages(samples: readonly Sample[]): void {
  const page = join(root, 'docs/benchmarks.md');
  const machine = describeMachine(new Date(), {
    nginx: findProgram('nginx'),
    registry: findProgram('docker-registry'),
  });
  const text = [`${machine}.`, '### Targets', targetsReport(samples), partsReport(parts, samples, '###')].join('\n\n');
  writeFileSync(page, replaceMarked(readFileSync(page, 'utf8'), text));
  writeFileSync(join(root, 'docs/benchmarks.svg'), chartOf(figuresOf(samples)));
}

const print = (text: string) => process.stdout.write(`\n${text}\n`);

await main();
