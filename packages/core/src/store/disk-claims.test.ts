import { expect, it } from 'vitest';
import { createDiskClaims } from './disk-claims.ts';

const fileOf = (written: number) => ({ written });
const createClaims = () => createDiskClaims(({ written }: { written: number }) => written);

it('counts what a file may still grow by, and what it has since the last look, also when it has ended', () => {
  const claims = createClaims();
  const file = fileOf(0);
  claims.set(file, 100);
  Object.assign(file, { written: 60 });
  expect(claims.taken()).toBe(100);
  claims.looking()();
  expect(claims.taken()).toBe(40);
  Object.assign(file, { written: 80 });
  claims.end(file);
  expect(claims.taken()).toBe(20);
  claims.looking()();
  expect(claims.taken()).toBe(0);
});

it('takes nothing off twice for looks that overlap', () => {
  const claims = createClaims();
  const file = fileOf(0);
  claims.set(file, 100);
  Object.assign(file, { written: 100 });
  claims.end(file);
  const [one, other] = [claims.looking(), claims.looking()];
  one();
  other();
  expect(claims.taken()).toBe(0);
  claims.set(fileOf(0), 50);
  expect(claims.taken()).toBe(50);
});

it('forgets a file that never took anything', () => {
  const claims = createClaims();
  const file = fileOf(0);
  claims.set(file, 100);
  claims.drop(file);
  expect(claims.taken()).toBe(0);
});
