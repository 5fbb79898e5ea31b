import { expect, test } from 'vitest';
import { substituteEnvironment } from './substitute-environment.ts';

const environment = { NAME: 'value', EMPTY: '', YAML: 'a: {b: [1' };

test.each([
  ['${NAME}', 'value'],
  ['https://${NAME}.example/${NAME}', 'https://value.example/value'],
  ['${NAME:-other}', 'value'],
  ['${UNSET:-other}', 'other'],
  ['${EMPTY:-other}', 'other'],
  ['${UNSET:-}', ''],
  ['${EMPTY}', ''],
  ['${YAML}', 'a: {b: [1'],
  ['$${NAME}', '${NAME}'],
  ['$NAME costs $5, $$ and }', '$NAME costs $5, $$ and }'],
])('%s becomes %s', (text, expected) => {
  expect(substituteEnvironment({ a: [{ b: text }] }, environment)).toEqual({
    value: { a: [{ b: expected }] },
    problems: [],
  });
});

test('what a variable holds is not looked at again', () => {
  const nested = { A: '${B}', B: 'secret' };
  expect(substituteEnvironment('${A}', nested).value).toBe('${B}');
});

test('keys and values that are no text stay as they are', () => {
  const input = { '${NAME}': [1, true, null] };
  expect(substituteEnvironment(input, environment)).toEqual({ value: input, problems: [] });
});

test('each unset variable is a problem that names its path', () => {
  const { problems } = substituteEnvironment({ upstreams: [{ auth: { password: '${UNSET}' } }], b: '${ALSO}' }, {});
  expect(problems).toEqual([
    'upstreams[0].auth.password: the environment has no UNSET; set it, or give a default: ${UNSET:-default}',
    'b: the environment has no ALSO; set it, or give a default: ${ALSO:-default}',
  ]);
});

test.each(['${', '${}', '${na-me}', '${1A}', '${NAME'])(
  '%s is a problem, and the text around it is not shown',
  (text) => {
    expect(substituteEnvironment({ a: `secret${text}` }, environment).problems).toEqual([
      'a: expected ${NAME} or ${NAME:-default} after "$"; $${ stands for ${ itself',
    ]);
  },
);
