import { describe, expect, it } from 'vitest';
import { attached, blobs, manifests, repository, tagged } from './content.ts';
import { registries, useFront } from './filled-registry.ts';

const accept = manifests.map(({ mediaType }) => mediaType).join(', ');
const compared = ['content-type', 'content-length', 'docker-content-digest'];

/** What a client gets: status, the headers that describe content, and the bytes. */
async function contentAt(url: string, method: string) {
  const answer = await fetch(url, { method, headers: { accept } });
  const headers = compared.map((name) => answer.headers.get(name));
  return { status: answer.status, headers, body: Buffer.from(await answer.arrayBuffer()).toString('base64') };
}

const references = [
  ...Object.keys(tagged),
  ...[...manifests, ...attached.referrers.map(({ manifest }) => manifest)].map(({ digest }) => digest),
];

describe.each(registries)('%s', (_, start) => {
  const front = useFront(start);

  describe.each(['at first', 'again, from the store'])('%s', () => {
    it.each(['HEAD', 'GET'])('gives the same manifests as its cache, by tag and by digest, to %s', async (method) => {
      for (const reference of references) {
        const theirs = await contentAt(`${front.registry.url}/v2/${repository}/manifests/${reference}`, method);
        const ours = await contentAt(`${front.url}/v2/${front.name}/manifests/${reference}`, method);
        expect(theirs.status).toBe(200);
        expect({ reference, ...ours }).toEqual({ reference, ...theirs });
      }
    });

    it.each(['HEAD', 'GET'])('gives the same blobs as its cache, to %s', async (method) => {
      for (const { digest } of blobs) {
        const theirs = await contentAt(`${front.registry.url}/v2/${repository}/blobs/${digest}`, method);
        const ours = await contentAt(`${front.url}/v2/${front.name}/blobs/${digest}`, method);
        expect(theirs.status).toBe(200);
        expect({ digest, ...ours }).toEqual({ digest, ...theirs });
      }
    });
  });

  it('gives the same tags as its cache, page by page', async () => {
    const base = `${front.registry.url}/v2/${repository}/tags/list`;
    const tagsAt = async (url: string) => ((await (await fetch(url)).json()) as { tags: string[] }).tags;
    const ours = () => `${front.url}/v2/${front.name}/tags/list`;
    const all = (await tagsAt(base)).toSorted();
    const heeds = (await tagsAt(`${base}?n=1`)).length === 1;
    expect((await tagsAt(ours())).toSorted()).toEqual(all);
    for (const last of [undefined, ...all]) {
      for (const n of [undefined, 1, 3, all.length - 1]) {
        if (last === undefined && n === undefined) continue;
        const query = new URLSearchParams({ ...(n && { n: String(n) }), ...(last && { last }) });
        // One that heeds no pages gives all tags whatever it is asked: what a page of them is, the specification says.
        const page = heeds ? await tagsAt(`${base}?${query}`) : all.filter((tag) => last === undefined || tag > last);
        expect({ last, n, tags: await tagsAt(`${ours()}?${query}`) }).toEqual({ last, n, tags: page.slice(0, n) });
      }
    }
  });
});
