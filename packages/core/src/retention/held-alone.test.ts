import { describe, expect, test } from 'vitest';
import { emptyGraph, type Graph } from './graph.ts';
import { heldAlone } from './held-alone.ts';

/** Content by letters; what each manifest needs, and what each tag holds. */
function graphOf(needs: Record<string, string>, tags: readonly string[] = []): Graph {
  const graph = emptyGraph();
  const number = (letter: string) => graph.numberOf(letter.charCodeAt(0));
  for (const [manifest, needed] of Object.entries(needs)) graph.needs[number(manifest)] = [...needed].map(number);
  for (const [index, holds] of tags.entries()) {
    graph.tags.push({ tag: String(index), usedAt: 0, holds: [...holds].map(number) });
  }
  return graph;
}

function held(graph: Graph, { tags = [], content }: { tags?: number[]; content?: string }): string {
  const number = content === undefined ? undefined : graph.find(content.charCodeAt(0));
  const alone = heldAlone(graph, { tags: new Set(tags), content: number });
  return [...alone]
    .map((each) => String.fromCharCode(graph.marks[each] as number))
    .sort()
    .join('');
}

describe('what nothing but these holds', () => {
  test.each([
    ['a tag: its image', { A: 'xy' }, ['A'], { tags: [0] }, 'Axy'],
    ['a tag: not what another tag holds', { A: 'xy', B: 'yz' }, ['A', 'B'], { tags: [0] }, 'Ax'],
    ['a tag: nothing of an image that has another tag', { A: 'xy' }, ['A', 'A'], { tags: [0] }, ''],
    ['a tag: not what an image without a tag needs', { A: 'xy', B: 'yz' }, ['A'], { tags: [0] }, 'Ax'],
    ['a tag: the images of an index', { I: 'AB', A: 'x', B: 'y' }, ['I'], { tags: [0] }, 'ABIxy'],
    [
      'a tag: not an image that another index names',
      { I: 'AB', J: 'B', A: 'x', B: 'y' },
      ['I', 'J'],
      { tags: [0] },
      'AIx',
    ],
    ['a tag: its last whole image, too', { A: 'x', B: 'y' }, ['AB'], { tags: [0] }, 'ABxy'],
    ['a digest: also where an index names it', { I: 'AB', A: 'xz', B: 'yz' }, ['I'], { content: 'A' }, 'Ax'],
    ['a digest: its tags hold nothing more', { A: 'x', B: 'y' }, ['AB'], { tags: [0], content: 'A' }, 'Ax'],
    ['a blob: itself alone', { A: 'xy' }, ['A'], { content: 'x' }, 'x'],
  ])('%s', (_, needs, tags, what, alone) => {
    expect(held(graphOf(needs as never, tags), what)).toBe(alone);
  });

  test('what could not be read may need anything: only what was named goes', () => {
    const graph = graphOf({ A: 'xy' }, ['A']);
    graph.unread.push(graph.numberOf('U'.charCodeAt(0)));
    expect([held(graph, { tags: [0] }), held(graph, { content: 'A' })]).toEqual(['', 'A']);
    const lost = graphOf({ A: 'xy' }, ['A', '']);
    lost.lostTags.add(1);
    expect([held(lost, { tags: [0] }), held(lost, { content: 'A' })]).toEqual(['', 'A']);
  });

  test('signatures go with what they are about', () => {
    const graph = graphOf({ A: 'x', S: 's' }, ['A']);
    const [image, signature] = ['A', 'S'].map((letter) => graph.find(letter.charCodeAt(0)) as number);
    graph.keeps[image as number] = [signature as number];
    expect(held(graph, { tags: [0] })).toBe('ASsx');
  });
});
