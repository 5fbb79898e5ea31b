import { expect, it } from 'vitest';
import { keepText, textOf } from './kept-texts.ts';

const KiB = 1024;
const everyByte = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

it('keeps a character for each byte of these very bytes, not of others that are equal', () => {
  keepText(everyByte);
  expect(Buffer.from(textOf(everyByte) ?? '', 'latin1')).toEqual(everyByte);
  expect(textOf(Buffer.from(everyByte))).toBeUndefined();
});

it('keeps none of many bytes', () => {
  const [few, many] = [Buffer.alloc(4 * KiB), Buffer.alloc(4 * KiB + 1)];
  keepText(few);
  keepText(many);
  expect([textOf(few)?.length, textOf(many)]).toEqual([4 * KiB, undefined]);
});

it('keeps 4 MiB of them, the latest, however often one is kept', () => {
  const all = Array.from({ length: 1_500 }, () => Buffer.alloc(4 * KiB));
  for (const one of all) {
    keepText(one);
    keepText(one);
  }
  expect(all.map((one) => textOf(one) !== undefined).lastIndexOf(false)).toBe(1_500 - 1_024 - 1);
  expect(all.filter((one) => textOf(one) !== undefined)).toHaveLength(1_024);
});
