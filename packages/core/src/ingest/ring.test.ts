import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createRing } from './ring.ts';

it('gives, at any position it holds, what is there up to the end of its chunk', () => {
  const chunks = fc.array(fc.uint8Array({ minLength: 0, maxLength: 9 }), { maxLength: 30 });
  fc.assert(
    fc.property(chunks, fc.nat(200), fc.nat(200), (parts, trimmed, kept) => {
      const whole = Buffer.concat(parts);
      const ring = createRing();
      for (const part of parts) ring.push(part);
      ring.trim(trimmed, kept);
      for (let position = 0; position <= whole.length; position++) {
        const got = ring.at(position);
        // Nothing goes that is not before `trimmed`, or within the last `kept` bytes.
        if (!got) {
          expect(position < Math.min(trimmed, whole.length - kept) || position === whole.length).toBe(true);
        } else {
          expect(got.byteLength).toBeGreaterThan(0);
          expect(Buffer.from(got).equals(whole.subarray(position, position + got.byteLength))).toBe(true);
        }
      }
    }),
  );
});

it('holds no more than a chunk beyond what it is to keep', () => {
  const ring = createRing();
  for (let i = 0; i < 100; i++) {
    ring.push(new Uint8Array(10));
    ring.trim(Number.POSITIVE_INFINITY, 25);
  }
  expect(ring.at(1000 - 31)).toBeUndefined();
  expect(ring.at(1000 - 30)?.byteLength).toBe(10);
  expect(ring.at(999)?.byteLength).toBe(1);
});

it('holds at most 4096 chunks of what was written, however small an upstream cuts them', () => {
  const ring = createRing();
  for (let i = 0; i < 10_000; i++) ring.push(Uint8Array.of(i));
  ring.trim(8_000, 1_000_000);
  expect([ring.at(5_903), ring.at(5_904)]).toEqual([undefined, Uint8Array.of(5_904)]);
  // What is not in the file yet stays, all of it.
  ring.reset();
  for (let i = 0; i < 10_000; i++) ring.push(Uint8Array.of(i));
  ring.trim(0, 1_000_000);
  expect(ring.at(0)).toEqual(Uint8Array.of(0));
});

it('starts at position 0 again after a reset', () => {
  const ring = createRing();
  ring.push(Buffer.from('old'));
  ring.reset();
  expect(ring.at(0)).toBeUndefined();
  ring.push(Buffer.from('new'));
  expect(String(ring.at(0))).toBe('new');
  expect(ring.at(3)).toBeUndefined();
});
