import fc from 'fast-check';
import { expect, it } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { emptyGraph, type Graph, markOf } from './graph.ts';
import { type KeptTags, type LastUses, lastUses } from './plan.ts';

const never = Number.NEGATIVE_INFINITY;
const markOfName = (name: string): number => markOf(digestOf(Buffer.from(name)));
const nothingKept: KeptTags = { keeps: () => false, keepLast: 0 };

interface Sketch {
  tags?: Record<string, { usedAt?: number; holds: string[] }>;
  usedAt?: Record<string, number>;
  needs?: Record<string, string[]>;
  keeps?: Record<string, string[]>;
  unread?: string[];
  lostTags?: number[];
  isPartial?: boolean;
}

function graphOf(sketch: Sketch): { graph: Graph; number: (name: string) => number } {
  const graph = emptyGraph();
  const number = (name: string) => graph.numberOf(markOfName(name));
  const numbers = (names: string[]) => names.map(number);
  for (const [name, at] of Object.entries(sketch.usedAt ?? {})) graph.usedAt[number(name)] = at;
  for (const [name, all] of Object.entries(sketch.needs ?? {})) graph.needs[number(name)] = numbers(all);
  for (const [name, all] of Object.entries(sketch.keeps ?? {})) graph.keeps[number(name)] = numbers(all);
  for (const [tag, { usedAt = never, holds }] of Object.entries(sketch.tags ?? {})) {
    graph.tags.push({ tag, usedAt, holds: numbers(holds) });
  }
  graph.unread = numbers(sketch.unread ?? []);
  graph.lostTags = new Set(sketch.lostTags);
  graph.isPartial = sketch.isPartial ?? false;
  return { graph, number };
}

function run(graph: Graph, kept = nothingKept, isOld: (at: number) => boolean = () => true): LastUses {
  const work = lastUses(graph, kept, isOld);
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
  }
}

/** The last use of each by name, tags as `:tag`. */
function uses(sketch: Sketch, kept = nothingKept, isOld?: (at: number) => boolean): Record<string, number> {
  const { graph, number } = graphOf(sketch);
  const found = run(graph, kept, isOld);
  const names = new Set([
    ...Object.keys(sketch.usedAt ?? {}),
    ...Object.entries({ ...sketch.needs, ...sketch.keeps }).flatMap(([name, all]) => [name, ...all]),
    ...Object.values(sketch.tags ?? {}).flatMap(({ holds }) => holds),
  ]);
  return Object.fromEntries([
    ...[...names].map((name) => [name, found.content[number(name)] as number] as const),
    ...graph.tags.map(({ tag }, index) => [`:${tag}`, found.tags[index] as number] as const),
  ]);
}

const image = { index: ['amd64', 'arm64'], amd64: ['config', 'base', 'top'], arm64: ['config2', 'base2'] };

it('keeps all of an image as long as its tag', () => {
  expect(uses({ tags: { latest: { usedAt: 5, holds: ['index'] } }, needs: image })).toEqual({
    ':latest': 5,
    index: 5,
    amd64: 5,
    arm64: 5,
    config: 5,
    base: 5,
    top: 5,
    config2: 5,
    base2: 5,
  });
});

it('counts a pull by digest as it counts one by tag, for the tag too', () => {
  const found = uses({
    tags: { latest: { usedAt: 1, holds: ['index'] } },
    usedAt: { index: 7 },
    needs: image,
  });
  expect(found).toMatchObject({ ':latest': 7, index: 7, base2: 7 });
});

it('counts the use of a child or layer that one image alone has as a use of the image', () => {
  const sketch = { tags: { latest: { usedAt: 1, holds: ['index'] } }, needs: image };
  expect(uses({ ...sketch, usedAt: { amd64: 4 } })).toMatchObject({ ':latest': 4, index: 4, arm64: 4 });
  expect(uses({ ...sketch, usedAt: { top: 4 } })).toMatchObject({ ':latest': 4, index: 4, arm64: 4 });
});

it('keeps no image for the use of a layer that another image has too', () => {
  const found = uses({
    tags: { old: { usedAt: 1, holds: ['a'] }, new: { usedAt: 9, holds: ['b'] } },
    usedAt: { base: 9 },
    needs: { a: ['top a', 'base'], b: ['top b', 'base'] },
  });
  expect(found).toMatchObject({ ':old': 1, a: 1, 'top a': 1, base: 9, b: 9 });
});

it('keeps the last image of a tag that was whole, as long as the tag', () => {
  const found = uses({
    tags: { latest: { usedAt: 6, holds: ['new', 'whole'] } },
    needs: { whole: ['layer'] },
  });
  expect(found).toEqual({ ':latest': 6, new: 6, whole: 6, layer: 6 });
});

it('keeps signatures as long as their image, and no image for its signatures', () => {
  const found = uses({
    usedAt: { image: 3, signature: 8 },
    keeps: { image: ['signature', 'sbom'] },
    needs: { sbom: ['text'] },
  });
  expect(found).toEqual({ image: 3, signature: 8, sbom: 3, text: 3 });
});

it('keeps tags by their name and the ones that were used last, each with all of its image', () => {
  const sketch = {
    tags: {
      v1: { usedAt: 1, holds: ['a'] },
      v2: { usedAt: 2, holds: ['b'] },
      main: { usedAt: 3, holds: ['c'] },
      test: { usedAt: 4, holds: ['d'] },
    },
    needs: { a: ['layer a'], d: ['layer d'] },
  };
  const found = uses(sketch, { keeps: (tag) => tag === 'v1', keepLast: 1 });
  const forever = Number.POSITIVE_INFINITY;
  expect(found).toMatchObject({ ':v1': forever, 'layer a': forever, ':test': forever, 'layer d': forever });
  expect(found).toMatchObject({ ':v2': 2, ':main': 3, c: 3 });
});

it('keeps all of a repository while it is not known what one of its tags, or of the images that stay, needs', () => {
  const forever = Number.POSITIVE_INFINITY;
  const sketch = { usedAt: { a: 1, b: 9 }, tags: { t: { usedAt: 1, holds: ['a'] } } };
  expect(uses({ ...sketch, isPartial: true })).toEqual({ a: forever, b: forever, ':t': forever });
  const isOld = (at: number) => at < 5;
  expect(uses({ ...sketch, unread: ['b'] }, nothingKept, isOld)).toEqual({ a: forever, b: forever, ':t': forever });
  expect(uses({ ...sketch, unread: ['a'] }, nothingKept, isOld)).toEqual({ a: 1, b: 9, ':t': 1 });
});

it('ages a repository of which the record of a tag is lost, unless that tag is to stay', () => {
  const forever = Number.POSITIVE_INFINITY;
  const sketch = {
    usedAt: { a: 1, b: 2 },
    tags: { rotten: { usedAt: 1, holds: [] }, sound: { usedAt: 2, holds: ['b'] } },
    lostTags: [0],
  };
  expect(uses(sketch)).toEqual({ a: 1, b: 2, ':rotten': 1, ':sound': 2 });
  const all = { a: forever, b: forever, ':rotten': forever, ':sound': forever };
  expect(uses(sketch, { keeps: (tag) => tag === 'rotten', keepLast: 0 })).toEqual(all);
  expect(uses(sketch, { keeps: () => false, keepLast: 2 })).toEqual(all);
  expect(uses(sketch, { keeps: () => false, keepLast: 1 })).toMatchObject({ a: 1, b: forever, ':rotten': 1 });
});

it('has an end where what two digests share makes a ring', () => {
  expect(uses({ usedAt: { a: 2 }, needs: { a: ['b'], b: ['c'], c: ['a'] } })).toEqual({ a: 2, b: 2, c: 2 });
});

it('does its work in steps', () => {
  const graph = emptyGraph();
  for (let i = 0; i < 20_000; i++) graph.usedAt[graph.numberOf(markOfName(`${i}`))] = i;
  let steps = 0;
  for (const work = lastUses(graph, nothingKept, () => true); !work.next().done; ) steps++;
  expect(steps).toBeGreaterThan(3);
});

const size = 24;
const randomGraph = fc.record({
  // Only of later ones, as no digest can be known before its content is.
  edges: fc.array(
    fc.tuple(fc.nat(size - 2), fc.nat(size - 1), fc.boolean()).map(([from, to, keeps]) => ({
      from,
      to: from + 1 + (to % (size - 1 - from)),
      keeps,
    })),
    { maxLength: 60 },
  ),
  usedAt: fc.array(fc.option(fc.nat(10), { nil: never }), { minLength: size, maxLength: size }),
  tags: fc.array(fc.tuple(fc.nat(10), fc.uniqueArray(fc.nat(size - 1), { minLength: 1, maxLength: 2 })), {
    maxLength: 6,
  }),
  keepLast: fc.nat(3),
  keep: fc.nat(8),
  limit: fc.nat(11),
});

it('never leaves anything that stays without what it needs, for any graph and any age', () => {
  fc.assert(
    fc.property(randomGraph, ({ edges, usedAt, tags, keepLast, keep, limit }) => {
      const graph = emptyGraph();
      const numbers = usedAt.map((at, index) => {
        const number = graph.numberOf(markOfName(`${index}`));
        graph.usedAt[number] = at;
        return number;
      });
      for (const { from, to, keeps } of edges) {
        const all = keeps ? graph.keeps : graph.needs;
        all[numbers[from]!] = [...(all[numbers[from]!] ?? []), numbers[to]!];
      }
      for (const [index, [at, holds]] of tags.entries()) {
        graph.tags.push({ tag: `${index}`, usedAt: at, holds: holds.map((one) => numbers[one]!) });
      }
      const found = run(graph, { keeps: (tag) => Number(tag) === keep, keepLast });
      const stays = (at: number | undefined) => at! >= limit;
      for (const [index, { holds, usedAt: at }] of graph.tags.entries()) {
        expect(found.tags[index]).toBeGreaterThanOrEqual(at);
        if (stays(found.tags[index])) for (const one of holds) expect(stays(found.content[one])).toBe(true);
        if (index === keep) expect(found.tags[index]).toBe(Number.POSITIVE_INFINITY);
      }
      for (const number of numbers) {
        expect(found.content[number]).toBeGreaterThanOrEqual(graph.usedAt[number]!);
        if (!stays(found.content[number])) continue;
        for (const below of [...(graph.needs[number] ?? []), ...(graph.keeps[number] ?? [])]) {
          expect(stays(found.content[below])).toBe(true);
        }
      }
      expect(found.tags.filter((at) => at === Number.POSITIVE_INFINITY).length).toBeGreaterThanOrEqual(
        Math.min(keepLast, tags.length),
      );
    }),
    { numRuns: 500 },
  );
});

it('lets everything go that nothing younger than the limit needs, for any graph without layers of two images', () => {
  fc.assert(
    fc.property(randomGraph, ({ usedAt, tags }) => {
      const graph = emptyGraph();
      for (const [index, at] of usedAt.entries()) graph.usedAt[graph.numberOf(markOfName(`${index}`))] = at;
      for (const [index, [at, holds]] of tags.entries()) graph.tags.push({ tag: `${index}`, usedAt: at, holds });
      const found = run(graph);
      for (const [number, at] of graph.usedAt.entries()) {
        const holders = graph.tags.filter(({ holds }) => holds.includes(number));
        const ofTags = holders.map((tag) => Math.max(tag.usedAt, graph.usedAt[tag.holds[0]!]!));
        expect(found.content[number]).toBe(Math.max(at, ...ofTags));
      }
    }),
  );
});
