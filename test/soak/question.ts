import type { Asked, Pace } from './client.ts';
import type { Random } from './random.ts';
import type { Shelf } from './shelf.ts';

/** A part of a blob as a client asks for it: `from-`, `from-to` or `-last`. */
export type Part = { from: number; to?: number } | { last: number };

/** What a client wants to know, and of whom. */
export type Question = { method: 'GET' | 'HEAD'; repository: string } & (
  | { about: 'tag'; tag: string }
  | { about: 'manifest'; digest: string }
  | { about: 'blob'; digest: string; size: number; parts?: readonly Part[]; ifNoneMatch?: boolean }
  | { about: 'tags' }
  | { about: 'referrers'; digest: string }
);

/** The request of a question. */
export function requestOf(question: Question, pace?: Pace): Asked {
  const { method, repository } = question;
  const base = `/v2/up/${repository}`;
  const own = { method, ...(pace !== undefined && { pace }) };
  switch (question.about) {
    case 'tag':
      return { ...own, path: `${base}/manifests/${question.tag}` };
    case 'manifest':
      return { ...own, path: `${base}/manifests/${question.digest}` };
    case 'tags':
      return { ...own, path: `${base}/tags/list` };
    case 'referrers':
      return { ...own, path: `${base}/referrers/${question.digest}` };
    case 'blob': {
      const { parts, ifNoneMatch, digest } = question;
      const headers = {
        ...(parts && { range: `bytes=${parts.map(textOf).join(',')}` }),
        ...(ifNoneMatch && { 'if-none-match': `"${digest}"` }),
      };
      return { ...own, path: `${base}/blobs/${digest}`, headers };
    }
  }
}

const textOf = (part: Part) => ('last' in part ? `-${part.last}` : `${part.from}-${part.to ?? ''}`);

/** The bytes that a part means; `undefined`: it is not satisfiable (RFC 9110 14.1.2). */
export function slice(part: Part, size: number): [from: number, end: number] | undefined {
  if ('last' in part) return part.last === 0 || size === 0 ? undefined : [Math.max(size - part.last, 0), size];
  return part.from >= size ? undefined : [part.from, Math.min((part.to ?? size - 1) + 1, size)];
}

/** Whether parts, of which those that overlap are one in the place of the first, begin each after the one before. */
export function ascend(spans: readonly [from: number, end: number][]): boolean {
  const ends: number[] = [];
  for (const [from, end] of spans.toSorted((a, b) => a[0] - b[0])) {
    if (from < (ends.at(-1) ?? 0)) ends[ends.length - 1] = Math.max(end, ends.at(-1) ?? 0);
    else ends.push(end);
  }
  let met = 0;
  for (const [from] of spans) {
    const group = ends.findIndex((end) => from < end);
    if (group > met) return false;
    if (group === met) met++;
  }
  return true;
}

function randomPart(random: Random, size: number): Part {
  if (random.chance(0.2)) return { last: random.int(size + 2) };
  const from = random.int(size + 1);
  return random.chance(0.3) ? { from } : { from, to: from + random.int(Math.max(size - from, 1)) };
}

/** A question about one blob. */
export function blobQuestion(
  random: Random,
  blob: { repository: string; digest: string; size: number },
  plain = false,
): Question {
  const { repository, digest, size } = blob;
  const base = { about: 'blob', repository, digest, size } as const;
  if (plain) return { ...base, method: 'GET' };
  switch (random.weighted({ whole: 5, head: 2, part: 3, parts: 1, match: 1 })) {
    case 'head':
      return { ...base, method: 'HEAD' };
    case 'part':
      return { ...base, method: 'GET', parts: [randomPart(random, size)] };
    case 'parts':
      return {
        ...base,
        method: 'GET',
        parts: Array.from({ length: random.between(2, 4) }, () => randomPart(random, size)),
      };
    case 'match':
      return { ...base, method: 'GET', ifNoneMatch: true };
    default:
      return { ...base, method: 'GET' };
  }
}

/** Any question about what is, or lately was, on the shelf; now and then in a repository that lacks it. */
export function anyQuestion(random: Random, shelf: Shelf): Question {
  const image = random.pick(shelf.images().slice(-20));
  const repository = random.chance(0.06) ? random.pick(shelf.repositories) : image.repository;
  const method = random.chance(0.7) ? 'GET' : 'HEAD';
  switch (random.weighted({ tag: 4, manifest: 3, blob: 8, tags: 1, referrers: 1 })) {
    case 'tag':
      return { about: 'tag', method, repository, tag: random.pick(shelf.tags) };
    case 'manifest':
      return { about: 'manifest', method, repository, digest: random.pick(image.manifests).digest };
    case 'tags':
      return { about: 'tags', method: 'GET', repository };
    case 'referrers':
      return { about: 'referrers', method: 'GET', repository, digest: image.root.digest };
    default:
      return blobQuestion(random, { repository, ...random.pick(image.blobs) });
  }
}
