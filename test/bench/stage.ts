import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { removeFolder } from '../peers/temporary-folder.ts';
import type { Bench } from './bench.ts';
import { blobPath, type Content, createContent, type Image, manifestPath } from './content.ts';
import type { Contestant, RunningContestant, Surroundings } from './contestants/contestant.ts';
import { drain } from './load/drain.ts';
import type { Origin } from './origin/origin.ts';
import { type ProcessTree, processTree } from './process-tree.ts';

/** A contestant that runs, and what it uses. */
export interface Performer extends RunningContestant {
  name: string;
  isCache: boolean;
  tree: ProcessTree | undefined;
}

/** The content of a part, the upstream that has it, and those who fill themselves from it. */
export interface Stage {
  content: Content;
  origin: Origin;
  start(contestant: Contestant, options?: Partial<Surroundings>): Promise<Performer>;
  close(): Promise<void>;
}

/** Makes the content and starts the upstream. */
export async function setStage(bench: Bench, makeContent: (content: Content) => void): Promise<Stage> {
  const folder = bench.newFolder('stage');
  const content = createContent(join(folder, 'content'));
  makeContent(content);
  const ofOrigin = join(folder, 'origin');
  mkdirSync(ofOrigin);
  const origin = await bench.startOrigin(content, ofOrigin);
  const running = new Set<Performer>();
  return {
    content,
    origin,
    async start({ name, isCache, start }, options = {}) {
      const own = options.folder ?? bench.newFolder(name.replace(/\W.*/, ''));
      const started = await start({ upstream: origin.url, content, ...options, folder: own });
      const { url, pid } = started;
      const performer: Performer = {
        name,
        isCache,
        url,
        ...(pid !== undefined && { pid }),
        tree: pid === undefined ? undefined : processTree(pid),
        async stop() {
          running.delete(performer);
          await started.stop();
          if (options.folder === undefined) removeFolder(own);
        },
      };
      running.add(performer);
      return performer;
    },
    async close() {
      await Promise.all([...running].map((performer) => performer.stop()));
      await origin.stop();
      removeFolder(folder);
    },
  };
}

/** The paths of an image, as a client asks for them: its manifest by tag, then the rest. */
export function pullPaths(image: Image): readonly (readonly string[])[] {
  return [[manifestPath(image, image.tag)], [image.config, ...image.layers].map((blob) => blobPath(image, blob))];
}

const settlingRounds = 50;

/** Pulls an image through a server until that has it all, and checks each byte once. */
export async function fill(bench: Bench, stage: Stage, performer: Performer, image: Image): Promise<void> {
  const paths = [[manifestPath(image)], ...pullPaths(image)];
  await drain(bench.tools.drain, performer.url, { paths, connections: 3, mode: 'verify' });
  if (!performer.isCache) return;
  for (let round = 0; round < settlingRounds; round++) {
    await stage.origin.take();
    await drain(bench.tools.drain, performer.url, { paths, connections: 3 });
    const { blobGets } = await stage.origin.take();
    if (blobGets === 0) return;
  }
  throw new Error(`${performer.name} asks its upstream for blobs again and again`);
}
