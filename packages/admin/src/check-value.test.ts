import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, test } from 'vitest';
import { checkValue } from './check-value.ts';
import { listOf, record, type Schema, word } from './schema.ts';

const sample: Schema = {
  anyOf: [
    record({ kind: word('list'), names: listOf({ type: 'string', minLength: 1, maxLength: 3 }, { maxItems: 2 }) }),
    record(
      {
        kind: word('numbers'),
        whole: { type: 'integer', minimum: 1, maximum: 9 },
        any: { type: ['number', 'null'] },
        more: { type: 'object', additionalProperties: { type: 'boolean' }, maxProperties: 2 },
      },
      { optional: ['any', 'more'] },
    ),
  ],
};

const values: unknown[] = [
  { kind: 'list', names: [] },
  { kind: 'list', names: ['a', 'abc'] },
  { kind: 'list', names: ['a', 'b', 'c'] },
  { kind: 'list', names: ['abcd'] },
  { kind: 'list', names: [''] },
  { kind: 'list', names: 'a' },
  { kind: 'list', names: [1] },
  { kind: 'list' },
  { kind: 'list', names: [], whole: 1 },
  { kind: 'numbers', whole: 1 },
  { kind: 'numbers', whole: 0 },
  { kind: 'numbers', whole: 10 },
  { kind: 'numbers', whole: 1.5 },
  { kind: 'numbers', whole: '1' },
  { kind: 'numbers', whole: 1, any: null },
  { kind: 'numbers', whole: 1, any: 1.5 },
  { kind: 'numbers', whole: 1, any: false },
  { kind: 'numbers', whole: 1, more: { a: true, b: false } },
  { kind: 'numbers', whole: 1, more: { a: true, b: false, c: true } },
  { kind: 'numbers', whole: 1, more: { a: 1 } },
  { kind: 'numbers', whole: 1, more: [] },
  { kind: 'other' },
  { toString: 1 },
  {},
  [],
  null,
  1,
  'list',
];

describe('a value', () => {
  const isRight = new Ajv2020({ strict: false }).compile(sample);

  test.each(values.map((value) => [JSON.stringify(value), value]))('%s is judged as JSON Schema has it', (_, value) => {
    const judge = () => {
      try {
        checkValue(sample, value, 'body');
        return true;
      } catch {
        return false;
      }
    };
    expect(judge()).toBe(isRight(value));
  });

  test.each([
    [{ kind: 'list', names: ['abcd'] }, 'body.names[0]: expected 3 characters at most'],
    [{ kind: 'list', name: [] }, 'body: there is no field "name"; it has kind, names'],
    [{ kind: 'list' }, 'body.names: expected to be given'],
    [{ kind: 'numbers', whole: 'secret' }, 'body.whole: expected a whole number, received text'],
    [{ kind: 'numbers', whole: 1, any: 'secret' }, 'body.any: expected a number or null, received text'],
    [{ kind: 'secret' }, 'body.kind: expected "list" or "numbers"'],
    [{ names: [] }, 'body.kind: expected "list" or "numbers"'],
    ['secret', 'body: expected an object with kind "list", or an object with kind "numbers", received text'],
  ])('%j is refused by its path, and not shown', (value, message) => {
    expect(() => checkValue(sample, value, 'body')).toThrow(message);
  });

  test('of one of several shapes is refused by what is wrong with the one that knows most of its fields', () => {
    const text: Schema = { type: 'string' };
    const shapes: Schema = { anyOf: [record({ user: text, password: text }), record({ token: text })] };
    const check = (value: unknown) => () => checkValue(shapes, value, 'body.auth');
    expect(check({ user: 'me', pasword: 'secret' })).toThrow(
      'body.auth: there is no field "pasword"; it has user, password',
    );
    expect(check({ user: 'me' })).toThrow('body.auth.password: expected to be given');
    const either = 'body.auth: expected an object with user, password, or an object with token, received an object';
    for (const value of [{}, { tokn: 'secret' }, { user: 'me', token: 'secret' }]) expect(check(value)).toThrow(either);
  });

  test('may not name a prototype where names are free', () => {
    const free: Schema = { type: 'object', additionalProperties: { type: 'number' } };
    expect(() => checkValue(free, { a: 1 }, 'body')).not.toThrow();
    for (const name of ['__proto__', 'constructor', 'prototype']) {
      expect(() => checkValue(free, JSON.parse(`{"${name}":1}`), 'body')).toThrow(`there is no field "${name}"`);
    }
  });
});
