import fs from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { statFile, syncNow, syncToDisk, systemCode } from './file-system.ts';

/** How {@link makeFolder} makes one. */
export interface FolderOptions {
  /** Whether what is made is to survive a loss of power. Default false. */
  durable?: boolean;
  /** Of what is made. Default 0700: for this user alone. */
  mode?: number;
}

/** How often a folder is tried where others remove those above it meanwhile. */
const attempts = 8;

/**
 * Makes a folder and those above it where they are missing. One that is there stays as it is.
 *
 * @throws what the system says
 */
export async function makeFolder(path: string, options: FolderOptions = {}): Promise<void> {
  const steps = stepsTo(path, options);
  for (let step = steps.next(); !step.done; ) step = steps.next(await answer(step.value));
}

/** As {@link makeFolder}, at once: for a start. */
export function makeFolderNow(path: string, options: FolderOptions = {}): void {
  const steps = stepsTo(path, options);
  for (let step = steps.next(); !step.done; ) step = steps.next(answerNow(step.value));
}

/** What the system is asked for: the answer to `make` is its error, to `look` whether there is a folder. */
type Step = { ask: 'make'; path: string; mode: number } | { ask: 'look'; path: string } | { ask: 'sync'; path: string };

/** Step by step: `recursive` of Node's mkdir never ends where a folder that is there takes none, as /proc. */
function* stepsTo(path: string, options: FolderOptions): Generator<Step, void, unknown> {
  const { durable = false, mode = 0o700 } = options;
  const above = dirname(path);
  for (let attempt = 1; ; attempt++) {
    const error = yield { ask: 'make', path, mode };
    if (error === undefined) break;
    if (yield { ask: 'look', path }) return;
    if (systemCode(error) !== 'ENOENT') throw error;
    if (attempt === attempts || above === path) throw new Error(`${above} takes no folders (ENOENT)`, { cause: error });
    yield* stepsTo(above, options);
  }
  if (durable) yield { ask: 'sync', path: above };
}

const make: (path: string, mode: number) => Promise<void> = promisify(fs.mkdir);

async function answer(step: Step): Promise<unknown> {
  if (step.ask === 'make') return await make(step.path, step.mode).catch((error) => error);
  if (step.ask === 'sync') return await syncToDisk(step.path);
  return await statFile(step.path).then(isFolder, () => false);
}

function answerNow(step: Step): unknown {
  if (step.ask === 'sync') return syncNow(step.path);
  try {
    return step.ask === 'look' ? isFolder(fs.statSync(step.path)) : fs.mkdirSync(step.path, { mode: step.mode });
  } catch (error) {
    return step.ask === 'look' ? false : error;
  }
}

const isFolder = (stats: fs.Stats) => stats.isDirectory();
