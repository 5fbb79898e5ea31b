import { restoreMark } from './file-format.ts';
import { systemCode } from './file-system.ts';
import { makeFolder } from './make-folder.ts';

/** Makes a root whole again of which somebody removed something since it was opened: cleaners take what is empty. */
export type Remake = () => Promise<void>;

/**
 * @param folders those in it
 * @param options.durable whether what is made survives a loss of power
 */
export function createRemake(root: string, folders: readonly string[], options: { durable: boolean }): Remake {
  return async () => {
    await makeFolder(root, options);
    // First: the next start refuses a root that holds something and has none.
    await restoreMark(root, options);
    for (const folder of folders) await makeFolder(folder, options);
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
