import { expect, test } from 'vitest';
import { parseFlags, usage } from './flags.ts';

test('no flags mean nothing', () => {
  expect(parseFlags([])).toEqual({ command: 'serve', help: false, upstreams: [] });
});

test('every flag is read, in both spellings', () => {
  const args = [
    '--config',
    'a.yaml',
    '--host=::1',
    '--port',
    '0',
    '--data',
    '/d',
    '--workers',
    '3',
    '--default-upstream=local',
  ];
  expect(parseFlags([...args, '--upstream', 'local=http://127.0.0.1:1', '--upstream=b=https://b.example/x=y'])).toEqual(
    {
      command: 'serve',
      help: false,
      config: 'a.yaml',
      host: '::1',
      port: 0,
      data: '/d',
      workers: 3,
      defaultUpstream: 'local',
      upstreams: [
        { key: 'local', url: 'http://127.0.0.1:1' },
        { key: 'b', url: 'https://b.example/x=y' },
      ],
    },
  );
});

test.each([['--help'], ['-h']])('%s asks for help', (flag) => {
  expect(parseFlags([flag]).help).toBe(true);
});

test('the usage names every flag', () => {
  for (const flag of ['config', 'host', 'port', 'data', 'workers', 'upstream', 'default-upstream', 'help']) {
    expect(usage).toMatch(new RegExp(`^ {2}--${flag} `, 'm'));
  }
});

test.each([
  [['--port', 'http'], '--port: expected an integer from 0 to 65535, received "http"'],
  [['--port', '70000'], '--port: expected an integer from 0 to 65535, received "70000"'],
  [['--workers', '-1'], "Option '--workers' argument is ambiguous"],
  [['--workers', 'all'], '--workers: expected an integer from 1 to 256, or "auto" for one a core, received "all"'],
  [['--host', ''], '--host: expected text that is not empty, received ""'],
  [['--upstream', 'http://127.0.0.1:1'], '--upstream: expected KEY=URL, received "http://127.0.0.1:1"'],
  [['--upstream', '=http://127.0.0.1:1'], '--upstream: expected KEY=URL, received "=http://127.0.0.1:1"'],
  [
    ['--upstream', 'hub=docker.io'],
    '--upstream: expected an http(s) URL without user, query and fragment, received "docker.io"',
  ],
  [['--prot', '1'], "Unknown option '--prot'"],
  [['--port'], '--port <value>'],
  [['config.yaml'], 'command: expected "check FILE", or flags alone, received "config.yaml"'],
])('%j is refused', (args, message) => {
  expect(() => parseFlags(args)).toThrow(message);
});

test('a password in an upstream URL is not shown', () => {
  const parse = () => parseFlags(['--upstream', 'local=http://user:271828@127.0.0.1:1']);
  expect(parse).toThrow('--upstream: expected an http(s) URL without user');
  expect(parse).not.toThrow('271828');
});

test.each([[['check', 'a.yaml']], [['check', '--config', 'a.yaml']]])('%j checks a configuration', (args) => {
  expect(parseFlags(args)).toEqual({ command: 'check', help: false, config: 'a.yaml', upstreams: [] });
});

test.each([
  [['check', 'a.yaml', 'b.yaml'], 'check: expected one configuration, received "b.yaml"'],
  [['check', 'a.yaml', '--config', 'b.yaml'], 'check: expected one configuration, received "a.yaml"'],
])('%j is refused', (args, message) => {
  expect(() => parseFlags(args)).toThrow(message);
});
