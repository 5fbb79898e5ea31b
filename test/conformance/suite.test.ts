import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readPage } from '../docs/markdown.ts';
import { known, tagged } from './content.ts';
import { registries, useFront } from './filled-registry.ts';
import { requireSuite, runSuite } from './suite.ts';

/** What is skipped, and why: `docs/conformance.md` says it to people. */
interface SkipList {
  reason: string;
  cases: readonly string[];
}
const skipped = JSON.parse(readFileSync(new URL('skipped.json', import.meta.url), 'utf8')) as readonly SkipList[];

const suite = await requireSuite();

describe.skipIf(suite === undefined).each(registries)(
  'the OCI conformance suite, against the standalone server before %s',
  (_, start) => {
    const front = useFront(start);

    it('passes, and skips what docs/conformance.md says', async () => {
      const cases = await runSuite(suite ?? '', {
        url: front.url,
        repository: front.name,
        tag: 'single',
        manifest: known.manifest.digest,
        blob: known.blobs[0]!.digest,
        tags: Object.keys(tagged),
      });
      const named = (wanted: string) => cases.filter(({ outcome }) => outcome === wanted).map(({ name }) => name);
      expect(cases.filter(({ outcome }) => outcome === 'failed')).toEqual([]);
      expect(named('skipped').toSorted()).toEqual(skipped.flatMap((list) => list.cases).toSorted());
      const [, passed] = /^(\d+) passed, 0 failed, \d+ skipped$/m.exec(readPage('docs/conformance.md').text) ?? [];
      expect(named('passed')).toHaveLength(Number(passed));
    });
  },
);

describe('docs/conformance.md', () => {
  const { text } = readPage('docs/conformance.md');

  it('says why each case is skipped', () => {
    const rows = skipped.map(({ reason, cases }) =>
      expect.stringMatching(`^\\| ${cases.length} +\\| .+ +\\| ${reason} *\\|$`),
    );
    expect(text.split('\n')).toEqual(expect.arrayContaining(rows));
  });

  it('counts what is skipped', () => {
    expect(text).toContain(`0 failed, ${skipped.flatMap(({ cases }) => cases).length} skipped`);
  });
});
