import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { ProxyCacheError } from '../runtime/errors.ts';
import { parseOwner } from '../runtime/process-owner.ts';
import { renameFile, statFile, syncNow, syncToDisk, unlessMissing, writeNew } from './file-system.ts';

/** The layout that this version writes and reads. Raised when an older version could misread a newer folder. */
const currentFormat = 1;
const fileName = 'proxycache.json';
const mark = `${JSON.stringify({ format: currentFormat })}\n`;

/**
 * Marks a folder as ours, or checks the mark.
 *
 * @param folders the names in it that would hold our content
 * @throws ProxyCacheError `storage-format` for a layout that is newer, unreadable or not ours; nothing was changed then
 */
export function checkFormat(directory: string, folders: readonly string[]): void {
  const file = join(directory, fileName);
  const text = readIfThere(file) ?? markOrRead(directory, folders);
  if (text === undefined) return;
  const format = formatOf(text);
  if (format === undefined)
    throw refuse(`${file} is damaged: it names no format; put {"format":1} back if you know the folder is whole`);
  if (format > currentFormat) {
    throw refuse(
      `${directory} has format ${format}, this version of proxycache knows formats up to ${currentFormat}: upgrade it`,
    );
  }
}

/** Marks a folder that has no mark. @returns the mark that another process has put there meanwhile */
function markOrRead(directory: string, folders: readonly string[]): string | undefined {
  const file = join(directory, fileName);
  // Retention deletes what is in these folders: content that somebody else put there is not ours to delete.
  const taken = folders.find((name) => holdsOthers(join(directory, name)));
  if (taken !== undefined) {
    // It may be the content of a process that began meanwhile, which puts its mark before all else.
    const text = readIfThere(file);
    if (text !== undefined) return text;
    throw refuse(
      `${directory} holds "${taken}" but no ${fileName}: it was not made by proxycache; move "${taken}" away`,
    );
  }
  const temp = `${file}.${randomUUID()}`;
  fs.writeFileSync(temp, mark, { mode: 0o600, flush: true });
  fs.renameSync(temp, file);
  // It is written once: without this a loss of power may leave an empty one, that no start takes.
  syncNow(directory);
  return undefined;
}

/**
 * Puts the mark back into a folder of ours that is in use, where somebody removed it.
 *
 * @param options.durable whether it survives a loss of power
 * @throws what the system says
 */
export async function restoreMark(directory: string, { durable }: { durable: boolean }): Promise<void> {
  const file = join(directory, fileName);
  if (await statFile(file).catch(unlessMissing)) return;
  const temp = `${file}.${randomUUID()}`;
  await writeNew(temp, Buffer.from(mark), { mode: 0o600, flush: durable });
  await renameFile(temp, file);
  if (durable) await syncToDisk(directory);
}

const refuse = (what: string) =>
  new ProxyCacheError('storage-format', `${what}, or choose another folder; nothing was changed`);

function readIfThere(file: string): string | undefined {
  return fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : undefined;
}

/** What bears an owner's name is ours: a cache that runs makes its spool again where somebody emptied all of the folder. */
function holdsOthers(folder: string): boolean {
  if (!fs.existsSync(folder)) return false;
  const entries = fs.opendirSync(folder);
  try {
    for (let entry = entries.readSync(); entry !== null; entry = entries.readSync()) {
      if (!parseOwner(entry.name)) return true;
    }
    return false;
  } finally {
    entries.closeSync();
  }
}

function formatOf(text: string): number | undefined {
  try {
    const { format }: { format?: unknown } = JSON.parse(text);
    return Number.isInteger(format) && Number(format) > 0 ? Number(format) : undefined;
  } catch {
    return undefined;
  }
}
