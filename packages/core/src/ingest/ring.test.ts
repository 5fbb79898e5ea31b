import fc from 'fast-check';
import { expect, it, vi } from 'vitest';
import { createRing, mostForEach } from './ring.ts';
import { type SharedBytes, shareMemory } from './shared-bytes.ts';

const piece = (bytes: Uint8Array): SharedBytes => ({ bytes, memory: shareMemory(() => undefined) });

it('gives, at any position it holds, what is there up to the end of its chunk', () => {
  const chunks = fc.array(fc.uint8Array({ minLength: 0, maxLength: 9 }), { maxLength: 30 });
  fc.assert(
    fc.property(chunks, fc.nat(200), fc.nat(200), (parts, trimmed, kept) => {
      const whole = Buffer.concat(parts);
      const ring = createRing();
      for (const part of parts) ring.push(piece(part));
      ring.trim(trimmed, kept);
      for (let position = 0; position <= whole.length; position++) {
        const got = ring.at(position)?.bytes;
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
    ring.push(piece(new Uint8Array(10)));
    ring.trim(Number.POSITIVE_INFINITY, 25);
  }
  expect(ring.at(1000 - 31)).toBeUndefined();
  expect(ring.at(1000 - 30)?.bytes.byteLength).toBe(10);
  expect(ring.at(999)?.bytes.byteLength).toBe(1);
});

it('holds memory until it lets go of it, once for all that follows each other there', () => {
  const free = vi.fn();
  const memory = shareMemory(free);
  const bytes = Buffer.from('abcdef');
  const ring = createRing();
  for (let at = 0; at < 6; at += 2) ring.push({ bytes: bytes.subarray(at, at + 2), memory });
  memory.letGo();
  expect(String(ring.at(1)?.bytes)).toBe('bcdef');
  ring.push(piece(Buffer.from('other')));
  ring.trim(5, 0);
  expect(free).not.toHaveBeenCalled();
  ring.trim(6, 0);
  expect(free).toHaveBeenCalledTimes(1);
  expect(ring.at(5)).toBeUndefined();
  expect(String(ring.at(6)?.bytes)).toBe('other');
});

it('takes for the same no memory that was used for something else in between', () => {
  const bytes = Buffer.from('abcdef');
  const ring = createRing();
  const memory = shareMemory(() => undefined);
  ring.push({ bytes: bytes.subarray(0, 2), memory });
  ring.push({ bytes: bytes.subarray(3, 5), memory });
  expect(String(ring.at(0)?.bytes)).toBe('ab');
  expect(String(ring.at(2)?.bytes)).toBe('de');
});

it('lets go of all memory at a reset', () => {
  const free = vi.fn();
  const ring = createRing();
  for (let i = 0; i < 3; i++) {
    const memory = shareMemory(free);
    ring.push({ bytes: Buffer.from('abc'), memory });
    memory.letGo();
  }
  ring.reset();
  expect(free).toHaveBeenCalledTimes(3);
});

it('starts at position 0 again after a reset', () => {
  const ring = createRing();
  ring.push(piece(Buffer.from('old')));
  ring.reset();
  expect(ring.at(0)).toBeUndefined();
  ring.push(piece(Buffer.from('new')));
  expect(String(ring.at(0)?.bytes)).toBe('new');
  expect(ring.at(3)).toBeUndefined();
});

it('gives no more at once than is asked for', () => {
  const ring = createRing();
  ring.push(piece(Buffer.from('abcdef')));
  expect(String(ring.at(1, 3)?.bytes)).toBe('bcd');
  expect(String(ring.at(4, 3)?.bytes)).toBe('ef');
});

it('gives many readers less at a time each than one or two', () => {
  expect(mostForEach(50)).toBeLessThan(mostForEach(1));
  expect(mostForEach(2)).toBe(mostForEach(1));
});
