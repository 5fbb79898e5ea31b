import { join } from 'node:path';
import { type Reading, sortedNames } from './file-names.ts';
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
  // Of most keys no segment can be too long for one name.
  const encoded = encode(key);
  return encoded.length <= longestName ? `${encoded}=` : `${folderOf(key.split('/'))}=`;
}

/** The keys under `directory` that start with `prefix`, in the order of `MetadataStore.list`, after `after`. */
export async function* walkKeyFiles(
  directory: string,
  prefix: string,
  { after, reading }: { after: string | undefined; reading: Reading },
): AsyncGenerator<string, void, undefined> {
  const segments = prefixSegments(prefix);
  const inside = after?.startsWith(prefix);
  if (after !== undefined && !inside && keyOrder(after) > keyOrder(prefix)) return;
  const from = inside ? (after ?? '').slice(prefix.length).split('/') : [];
  yield* walk(join(directory, folderOf(segments)), { prefix, from, reading });
}

/** Keys below a folder, those after the segments `from` only. */
async function* walk(
  folder: string,
  at: { prefix: string; from: readonly string[]; reading: Reading },
): AsyncGenerator<string, void, undefined> {
  const { prefix, from, reading } = at;
  const [first, ...rest] = from;
  const inner = (segment: string, below: readonly string[]) =>
    walk(join(folder, folderOf([segment])), { prefix: `${prefix}${segment}/`, from: below, reading });
  let after: string | undefined = first;
  if (first !== undefined && rest.length > 0) {
    yield* inner(first, rest);
    after = folderKey(first);
  }
  for await (const { segment, isValue } of entriesOf({ folder, begun: '' }, { after, reading })) {
    if (isValue) yield `${prefix}${segment}`;
    else yield* inner(segment, []);
  }
}

// As in keyOrder: what is inside a folder comes after a value of the same name, and before all longer names.
const folderKey = (segment: string) => `${segment}\0`;

// Names that go on in a folder are next to each other, after those that end with what they begin with.
const continuedKey = (begun: string) => `${begun}\uffff`;

type Entry = { key: string; segment: string; isValue: boolean };

function entryOf(name: string): Entry {
  const isValue = name.endsWith('=');
  const segment = decode(isValue ? name.slice(0, -1) : name);
  return { key: isValue ? segment : folderKey(segment), segment, isValue };
}

/** What is in a folder, ascending; names that go on in another folder, with what was `begun` of them, are followed. */
async function* entriesOf(
  { folder, begun }: { folder: string; begun: string },
  options: { after: string | undefined; reading: Reading },
): AsyncGenerator<Entry, void, undefined> {
  const isContinued = (name: string) => name.endsWith('+');
  const keyOf = (name: string) =>
    isContinued(name) ? continuedKey(decode(begun + name.slice(0, -1))) : entryOf(begun + name).key;
  const names = sortedNames(folder, { keyOf, ...options });
  try {
    for await (const { name } of names) {
      if (!isContinued(name)) yield entryOf(begun + name);
      else yield* entriesOf({ folder: join(folder, name), begun: begun + name.slice(0, -1) }, options);
    }
  } catch (error) {
    // Its last key was deleted since it was seen, or nothing was ever stored under the prefix.
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}
