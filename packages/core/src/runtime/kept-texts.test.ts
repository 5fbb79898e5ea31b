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
