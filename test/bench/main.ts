import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { findProgram } from '../system.ts';
import type { Bench } from './bench.ts';
import { lineup } from './lineup.ts';
import { type BenchOptions, parseOptions, usage } from './options.ts';
import { partNames, parts, partsNamed } from './parts/parts.ts';
import { root } from './places.ts';
import { watchOthers } from './quiet.ts';
import { chartOf } from './report/chart.ts';
import { figuresOf } from './report/figures.ts';
import { describeMachine } from './report/machine.ts';
import { replaceMarked } from './report/marked.ts';
import { partsReport, targetsReport } from './report/report.ts';
import { type Run, readRuns, writeRun } from './report/run.ts';
import { findTools, originOf } from './tools.ts';

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2), partNames);
  if (options.help) {
    process.stdout.write(usage.replace('PARTS', partNames.join(', ')));
    return;
  }
  const run = readRuns(options.from);
  try {
    if (options.parts.length > 0) await measure(options, run);
    else print(partsReport(parts, run, '##'));
  } finally {
    // What was measured before something failed is kept.
    if (options.json !== undefined) writeRun(options.json, run);
  }
  print(targetsReport(run));
  if (options.write) writePages(run);
}

async function measure(options: BenchOptions, run: Run): Promise<void> {
  const folder = makeTemporaryFolder('bench');
  process.once('exit', () => removeFolder(folder));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  let folders = 0;
  const bench: Bench = {
    tools: await findTools(folder),
    startOrigin: originOf(options.origin),
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
    record: (sample) => void run.samples.push(sample),
    tell: (line) => process.stderr.write(`  ${line}\n`),
  };
  for (const part of partsNamed(options.parts)) {
    process.stderr.write(`${part.title}\n`);
    const othersShare = watchOthers();
    await part.run(bench);
    run.others[part.name] = othersShare();
    print(partsReport([part], run, '##'));
  }
}

function writePages(run: Run): void {
  const page = join(root, 'docs/benchmarks.md');
  const machine = describeMachine(new Date(), {
    nginx: findProgram('nginx'),
    registry: findProgram('docker-registry'),
  });
  const text = [`${machine}.`, '### Targets', targetsReport(run), partsReport(parts, run, '###')].join('\n\n');
  writeFileSync(page, replaceMarked(readFileSync(page, 'utf8'), text));
  writeFileSync(join(root, 'docs/benchmarks.svg'), chartOf(figuresOf(run.samples)));
}

const print = (text: string) => process.stdout.write(`\n${text}\n`);

await main();
