import type { Part } from '../bench.ts';
import { cold } from './cold.ts';
import { herd } from './herd.ts';
import { host } from './host.ts';
import { link, segments } from './link.ts';
import { scale } from './scale.ts';
import { slow } from './slow.ts';
import { warmBlobs } from './warm-blobs.ts';
import { warmManifests } from './warm-manifests.ts';
import { workers } from './workers.ts';

/** All parts, in the order in which they run and are told. */
export const parts: readonly Part[] = [
  warmManifests,
  warmBlobs,
  cold,
  herd,
  link,
  segments,
  host,
  slow,
  scale,
  workers,
];

const groups: Readonly<Record<string, readonly Part[]>> = { warm: [warmManifests, warmBlobs] };

/** What may be asked for by name. */
export const partNames: readonly string[] = [...Object.keys(groups), ...parts.map(({ name }) => name)].filter(
  (name, index, all) => all.indexOf(name) === index,
);

/** The parts of some names, each once. */
export function partsNamed(names: readonly string[]): readonly Part[] {
  const asked = names.flatMap((name) => groups[name] ?? parts.filter((part) => part.name === name));
  return parts.filter((part) => asked.includes(part));
}
