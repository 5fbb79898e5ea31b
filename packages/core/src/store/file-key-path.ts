import { join } from 'node:path';
import { smallestNames } from './file-names.ts';
import { systemCode } from './file-system.ts';
import { keyOrder, prefixSegments } from './metadata-key.ts';

// Names on disk: a capital is `^` and its small letter, because two keys that differ in case only must stay two on file
// systems that ignore case; a value's name ends in `=`; a segment that gets too long for one name goes on in a folder
// whose name ends in `+`. None of the three may occur in a key.
const longestName = 240;

const encode = (segment: string) => segment.replace(/[A-Z]/g, (capital) => `^${capital.toLowerCase()}`);
const decode = (name: string) => name.replace(/\^([a-z])/g, (_, letter: string) => letter.toUpperCase());

function namesOf(segment: string): string[] {
  const text = encode(segment);
  const names: string[] = [];
  for (let at = 0; at < text.length; at += longestName) names.push(text.slice(at, at + longestName));
  return names.map((name, index) => (index < names.length - 1 ? `${name}+` : name));
}

const folderOf = (segments: readonly string[]) => segments.flatMap(namesOf).join('/');

/** Where a key's value is, relative to the metadata's folder. */
export function keyPath(key: string): string {
  return `${folderOf(key.split('/'))}=`;
}

interface ListOptions {
  after?: string;
  limit: number;
  signal: AbortSignal;
}

/** How many names of one folder are held at a time. */
const listWindow = 65_536;

/** The keys under `directory` by the rule of `MetadataStore.list`; each call reads the folders it passes through. */
export async function listKeyFiles(directory: string, prefix: string, options: ListOptions): Promise<string[]> {
  const { after, limit, signal } = options;
  const segments = prefixSegments(prefix);
  const inside = after?.startsWith(prefix);
  if (after !== undefined && !inside && keyOrder(after) > keyOrder(prefix)) return [];
  const from = inside ? (after ?? '').slice(prefix.length).split('/') : [];
  const keys: string[] = [];
  if (limit <= 0) return keys;
  for await (const key of walk(join(directory, folderOf(segments)), { prefix, from, signal })) {
    keys.push(key);
    if (keys.length === limit) break;
  }
  return keys;
}

/** Keys below a folder, those after the segments `from` only. */
async function* walk(
  folder: string,
  at: { prefix: string; from: readonly string[]; signal: AbortSignal },
): AsyncGenerator<string, void, undefined> {
  const { prefix, from, signal } = at;
  const [first, ...rest] = from;
  const inner = (segment: string, below: readonly string[]) =>
    walk(join(folder, folderOf([segment])), { prefix: `${prefix}${segment}/`, from: below, signal });
  let after: string | undefined = first;
  if (first !== undefined && rest.length > 0) {
    yield* inner(first, rest);
    after = folderKey(first);
  }
  for (;;) {
    const entries = await entriesOf({ folder, begun: '' }, { after, limit: listWindow, signal });
    for (const { key, segment, isValue } of entries) {
      if (isValue) yield `${prefix}${segment}`;
      else yield* inner(segment, []);
      after = key;
    }
    if (entries.length < listWindow) return;
  }
}

// As in keyOrder: what is inside a folder comes after a value of the same name, and before all longer names.
const folderKey = (segment: string) => `${segment}\0`;

type Entry = { key: string; segment: string; isValue: boolean };

function entryOf(name: string): Entry {
  const isValue = name.endsWith('=');
  const segment = decode(isValue ? name.slice(0, -1) : name);
  return { key: isValue ? segment : folderKey(segment), segment, isValue };
}

/** What is in a folder, ascending; names that go on in another folder, with what was `begun` of them, are followed. */
async function entriesOf(
  at: { folder: string; begun: string },
  options: { after: string | undefined; limit: number; signal: AbortSignal },
): Promise<Entry[]> {
  const { folder, begun } = at;
  const continued: string[] = [];
  const keyOf = (name: string) => {
    if (!name.endsWith('+')) return entryOf(begun + name).key;
    continued.push(name);
    return undefined;
  };
  let names: readonly { name: string }[];
  try {
    names = await smallestNames(folder, { keyOf, ...options });
  } catch (error) {
    // Its last key was deleted since it was seen, or nothing was ever stored under the prefix.
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
  const entries = names.map(({ name }) => entryOf(begun + name));
  if (continued.length === 0) return entries;
  for (const name of continued) {
    const inside = { folder: join(folder, name), begun: begun + name.slice(0, -1) };
    entries.push(...(await entriesOf(inside, options)));
  }
  return entries.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0)).slice(0, options.limit);
}
