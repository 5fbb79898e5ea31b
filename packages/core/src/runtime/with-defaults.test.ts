import { expect, it } from 'vitest';
import { withDefaults } from './with-defaults.ts';

it('takes what is given, and the default of what is not, or is undefined', () => {
  const given = { most: 5, least: undefined, name: 'one', note: undefined };
  expect(withDefaults({ most: 1, least: 2, every: 3 }, given)).toStrictEqual({
    ...{ most: 5, least: 2, every: 3 },
    name: 'one',
  });
  expect(withDefaults({ most: 1 }, undefined)).toEqual({ most: 1 });
});

it('takes false, 0 and null as given', () => {
  const defaults: { is: boolean; most: number; end: string | null } = { is: true, most: 1, end: 'now' };
  expect(withDefaults(defaults, { is: false, most: 0, end: null })).toEqual({ is: false, most: 0, end: null });
});
