import { dirname } from 'node:path';
import { restoreMark } from './file-format.ts';
import { makeFolders, syncToDisk, systemCode } from './file-system.ts';

/** Makes a root whole again of which somebody removed something since it was opened: cleaners take what is empty. */
export type Remake = () => Promise<void>;

/**
 * @param folders those in it
 * @param options.durable whether what is made survives a loss of power
 */
export function createRemake(root: string, folders: readonly string[], options: { durable: boolean }): Remake {
  return async () => {
    await makeMissing(root, options);
    // First: the next start refuses a root that holds something and has none.
    await restoreMark(root, options);
    for (const folder of folders) await makeMissing(folder, options);
  };
}

/** Does what needs folders of a root: where something is missing, they are made again, and it is done once more. */
export async function orRemake<T>(work: () => Promise<T>, remake: Remake): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
  await remake();
  return await work();
}

/** Makes a folder and those above it where they are missing, for this user alone. */
export async function makeMissing(folder: string, { durable }: { durable: boolean }): Promise<void> {
  const made = await makeFolders(folder, { recursive: true, mode: 0o700 });
  if (durable && made !== undefined) await syncUpTo(folder, dirname(made));
}

async function syncUpTo(folder: string, last: string): Promise<void> {
  for (let at = folder; ; at = dirname(at)) {
    await syncToDisk(at);
    if (at === last || at === dirname(at)) return;
  }
}
