import { type Digest, digestHex } from '../oci/digest.ts';

/** A tag, and the content that its record names. Content is given by number. */
export interface TagNode {
  tag: string;
  /** Ms since the epoch. */
  usedAt: number;
  /** What it stands for, and the last image of it that was here whole. */
  holds: readonly number[];
}

/**
 * What one repository holds, as numbers: content is known by a part of its digest, so that much of it fits into memory. Two
 * digests that share that part count as one, and stay as long as either.
 */
export interface Graph {
  tags: TagNode[];
  /** Those, by their index, whose records are lost: they hold nothing, and what they held is not known. */
  lostTags: Set<number>;
  /** The last use of each content by itself, in ms since the epoch; `-Infinity`: only others need it. */
  usedAt: number[];
  /** What each manifest cannot be served without; missing where it is none. */
  needs: (readonly number[] | undefined)[];
  /** What stays as long as each does: signatures of an image. */
  keeps: (readonly number[] | undefined)[];
  /** Manifests that are here, and nobody could read now: what they need is not known. */
  unread: number[];
  /** Whether a tag could not be read now: what it holds is not known. */
  isPartial: boolean;
  /** What each content is known by, by its number. */
  marks: number[];
  /** The number of some content, by its {@link markOf}. */
  numberOf(mark: number): number;
  /** The same of what is known; else `undefined`. */
  find(mark: number): number | undefined;
}

// 52 bits: a whole number that a Map finds without a text. A million contents share one with a chance of 1 to 9,000.
const hexDigits = 13;

/** The part of a digest that content is known by. */
export function markOf(digest: Digest): number {
  return Number.parseInt(digestHex(digest).slice(0, hexDigits), 16);
}

/** A repository of which nothing is known yet. */
export function emptyGraph(): Graph {
  const numbers = new Map<number, number>();
  const graph: Graph = {
    tags: [],
    lostTags: new Set(),
    usedAt: [],
    needs: [],
    keeps: [],
    unread: [],
    isPartial: false,
    marks: [],
    find: (mark) => numbers.get(mark),
    numberOf(mark) {
      let number = numbers.get(mark);
      if (number === undefined) {
        number = graph.usedAt.length;
        numbers.set(mark, number);
        graph.marks.push(mark);
        graph.usedAt.push(Number.NEGATIVE_INFINITY);
        graph.needs.push(undefined);
        graph.keeps.push(undefined);
      }
      return number;
    },
  };
  return graph;
}
