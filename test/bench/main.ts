import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import type { Bench, Part } from './bench.ts';
import { lineup } from './lineup.ts';
import { parseOptions, usage } from './options.ts';
import { cold } from './parts/cold.ts';
import { herd } from './parts/herd.ts';
import { host } from './parts/host.ts';
import { link, segments } from './parts/link.ts';
import { scale } from './parts/scale.ts';
import { slow } from './parts/slow.ts';
import { warmBlobs } from './parts/warm-blobs.ts';
import { warmManifests } from './parts/warm-manifests.ts';
import { createSamples } from './report/samples.ts';
import { tableOf } from './report/table.ts';
import { findTools } from './tools.ts';

const groups: Readonly<Record<string, readonly Part[]>> = {
  warm: [warmManifests, warmBlobs],
  cold: [cold],
  herd: [herd],
  link: [link, segments],
  host: [host],
  slow: [slow],
  scale: [scale],
};

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2), Object.keys(groups));
  if (options.help) {
    process.stdout.write(usage.replace('PARTS', Object.keys(groups).join(', ')));
    return;
  }
  const folder = makeTemporaryFolder('bench');
  process.once('exit', () => removeFolder(folder));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  const samples = createSamples();
  let folders = 0;
  const bench: Bench = {
    tools: await findTools(folder),
    contestants: lineup(options),
    rounds: options.rounds,
    extent: options.extent,
    isMillion: options.isMillion,
    newFolder(name) {
      const path = join(folder, `${++folders}-${name}`);
      mkdirSync(path);
      return path;
    },
    record: samples.add,
    tell: (line) => process.stderr.write(`  ${line}\n`),
  };
  for (const part of options.parts.flatMap((name) => groups[name] ?? [])) {
    process.stderr.write(`${part.title}\n`);
    await part.run(bench);
    for (const shape of part.tables) process.stdout.write(`\n${part.title}\n\n${tableOf(samples.all(), shape)}\n`);
  }
  if (options.json !== undefined) writeFileSync(options.json, JSON.stringify(samples.all(), undefined, 1));
}

await main();
