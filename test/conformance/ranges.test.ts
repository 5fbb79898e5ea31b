import { describe, expect, it } from 'vitest';
import { rangedBlob, ranges } from './content.ts';
import { registries, useFront } from './filled-registry.ts';

// The conformance suite asks these of a blob that it has pushed (OCI distribution-spec, #pulling-blobs; RFC 9110 14.1.2
// and 15.5.17), and takes a 200 for "not supported": we do not.
describe.each(registries)('before %s', (_, start) => {
  const front = useFront(start);

  it.each(Object.entries(ranges))(
    '%s of a blob is what the specification says, before it was pulled and after',
    async (range, part) => {
      const { digest, bytes, size } = rangedBlob(range);
      const url = `${front.url}/v2/${front.name}/blobs/${digest}`;
      const isStored = async () => (await fetch(url, { method: 'HEAD' })).headers.get('cache-status')?.includes('hit');
      for (const stored of [false, true]) {
        if (stored) {
          await (await fetch(url)).arrayBuffer();
          await expect.poll(isStored).toBe(true);
        }
        const answer = await fetch(url, { headers: { range } });
        const body = Buffer.from(await answer.arrayBuffer());
        const told = ['content-range', 'content-length', 'docker-content-digest'].map((name) =>
          answer.headers.get(name),
        );
        if (part === undefined) {
          expect({ stored, status: answer.status, range: told[0] }).toEqual({
            stored,
            status: 416,
            range: `bytes */${size}`,
          });
          continue;
        }
        const [from, to] = part;
        expect({ stored, status: answer.status, told }).toEqual({
          stored,
          status: 206,
          told: [`bytes ${from}-${to - 1}/${size}`, String(to - from), digest],
        });
        expect(body.equals(bytes.subarray(from, to))).toBe(true);
      }
    },
  );
});
