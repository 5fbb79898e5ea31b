import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createPacker, joined } from './packed.ts';

it('packs chunks of any size so that they say the same, joined where they can be', () => {
  const chunk = fc.oneof(fc.uint8Array({ maxLength: 9 }), fc.uint8Array({ minLength: 4090, maxLength: 4100 }));
  fc.assert(
    fc.property(fc.array(chunk, { maxLength: 40 }), (chunks) => {
      const pack = createPacker();
      const kept: Uint8Array[] = [];
      for (const packed of chunks.map(pack)) {
        const both = joined(kept.at(-1), packed);
        if (both) kept[kept.length - 1] = both;
        else kept.push(packed);
      }
      expect(Buffer.concat(kept).equals(Buffer.concat(chunks))).toBe(true);
    }),
  );
});

it('keeps a million single bytes in as many blocks as they fill', () => {
  const pack = createPacker();
  const buffers = new Set(Array.from({ length: 1_000_000 }, (_, i) => pack(Uint8Array.of(i)).buffer));
  expect(buffers.size).toBe(Math.ceil(1_000_000 / 16_384));
});

it('leaves large chunks where they are, and joins none to more than a block', () => {
  const large = new Uint8Array(64 * 1024);
  expect(createPacker()(large)).toBe(large);
  expect(joined(large.subarray(0, 16_000), large.subarray(16_000, 17_000))).toBeUndefined();
  expect(joined(large.subarray(0, 10), large.subarray(11, 12))).toBeUndefined();
  expect(joined(undefined, large)).toBeUndefined();
});
