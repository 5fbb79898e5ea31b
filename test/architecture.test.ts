import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ambientReads, longFiles } from './architecture/ambient.ts';
import { optionNames, undocumented, unionMembers } from './architecture/documented.ts';
import { foreignImports, importCycles, upwardImports } from './architecture/imports.ts';
import { disagreements, readPackages } from './architecture/package-versions.ts';
import { readSources, type SourceFile, top } from './architecture/source-file.ts';

const core = readSources('packages/core/src');
const everything = ['packages', 'examples', 'test'].flatMap(readSources);

/** A file of core made up to break a rule. */
const planted = (path: string, text: string): SourceFile => ({ path: `packages/core/src/${path}`, text });

test('there are sources to check', () => {
  expect(core.map(({ path }) => path)).toContain('packages/core/src/runtime/clock.ts');
  expect(everything.length).toBeGreaterThan(core.length);
});

describe('a file of core imports only from its own folder and the folders below it', () => {
  test('all of them do', () => {
    expect(upwardImports(core)).toEqual([]);
  });

  test('an import that points up is found, of whatever form', () => {
    const files = [
      planted('oci/a.ts', "import { x } from '../runtime/x.ts';\nimport type { Y } from '../store/y.ts';"),
      planted('oci/b.ts', "export * from '../http/message.ts';"),
      planted('oci/c.ts', "type Z = import('../events.ts').ProxyCacheEvent;\nconst z = await import('../index.ts');"),
      planted('events.ts', "import { x } from './options.ts';"),
      planted('ingest/a.ts', "import { x } from './b.ts';\nimport { y } from '../freshness/rules.ts';"),
    ];
    expect(upwardImports(files)).toEqual([
      'packages/core/src/oci/a.ts:2: imports up, from packages/core/src/store/y.ts',
      'packages/core/src/oci/b.ts:1: imports up, from packages/core/src/http/message.ts',
      'packages/core/src/oci/c.ts:1: imports up, from packages/core/src/events.ts',
      'packages/core/src/oci/c.ts:2: imports up, from packages/core/src/index.ts',
      'packages/core/src/events.ts:1: imports up, from packages/core/src/options.ts',
    ]);
  });

  test('a folder outside the order, and an import out of core, are found', () => {
    const files = [planted('helpers/a.ts', ''), planted('oci/a.ts', "import { x } from '../../../koa/src/x.ts';")];
    expect(upwardImports(files)).toHaveLength(2);
  });

  test('a test may import what it likes', () => {
    expect(upwardImports([planted('oci/a.test.ts', "import { x } from '../index.ts';")])).toEqual([]);
  });
});

describe('core imports only Node, undici, lru-cache, keyv and picomatch', () => {
  test('it does', () => {
    expect(foreignImports(core)).toEqual([]);
  });

  test('another package is found, and a Node module without its prefix', () => {
    const text = "import 'node:fs';\nimport 'undici';\nimport { z } from 'zod';\nimport type { A } from 'fs';";
    expect(foreignImports([planted('oci/a.ts', text)])).toEqual([
      'packages/core/src/oci/a.ts:3: imports zod',
      'packages/core/src/oci/a.ts:4: imports fs',
    ]);
  });
});

describe('no files import one another in a ring', () => {
  test('none do', () => {
    expect(importCycles(everything)).toEqual([]);
  });

  test('a ring is found, of types too', () => {
    const files = [
      planted('oci/a.ts', "import { b } from './b.ts';"),
      planted('oci/b.ts', "import type { C } from './c.ts';"),
      planted('oci/c.ts', "export { b } from './b.ts';"),
    ];
    expect(importCycles(files)).toEqual([
      'packages/core/src/oci/b.ts -> packages/core/src/oci/c.ts -> packages/core/src/oci/b.ts',
    ]);
  });
});

describe('no source file is longer than 250 lines', () => {
  test('none is', () => {
    expect(longFiles(everything, 250)).toEqual([]);
  });

  test('one line more is found', () => {
    expect(longFiles([planted('a.ts', '\n'.repeat(250)), planted('b.ts', '\n'.repeat(251))], 250)).toEqual([
      'packages/core/src/b.ts: 251 lines, more than 250',
    ]);
  });
});

describe('core takes the environment, the time and random names from its options, not from its surroundings', () => {
  test('it does', () => {
    expect(ambientReads(core)).toEqual([]);
  });

  test.each([
    ['const a = process.env.HOME;', 'process.env'],
    ["const a = process['env'];", 'process.env'],
    ['const { HOME } = globalThis.process.env;', 'globalThis'],
    ['const at = Date.now();', 'Date.now'],
    ['const at = new Date();', 'new Date()'],
    ['const at = performance.now();', 'performance.now'],
    ['setTimeout(() => {}, 1);', 'setTimeout'],
    ["console.log('x');", 'console'],
    ['const id = Math.random().toString(36);', 'Math.random as a name'],
    ['const id = `tmp-$' + '{Math.random()}`;', 'Math.random as a name'],
  ])('%s is found', (text, name) => {
    expect(ambientReads([planted('oci/a.ts', text)])).toContain(`packages/core/src/oci/a.ts:1: ${name}`);
  });

  test('the clock may read the time and nothing else', () => {
    const text = 'const a = Date.now();\nconst b = process.env;';
    expect(ambientReads([planted('runtime/clock.ts', text)])).toEqual([
      'packages/core/src/runtime/clock.ts:2: process.env',
    ]);
  });

  test('words in comments and strings, given dates and jitter are no reads', () => {
    const text = "// Date.now()\nconst a = 'process.env';\nconst b = new Date(0);\nconst wait = 5 * Math.random();";
    expect(ambientReads([planted('oci/a.ts', text)])).toEqual([]);
  });
});

describe('what users meet is documented', () => {
  const file = (path: string) => core.find((one) => one.path === `packages/core/src/${path}`)!;

  /** A page of docs/, or nothing while it is not written. */
  function page(name: string): SourceFile[] {
    const path = `docs/${name}`;
    return existsSync(`${top}/${path}`) ? [{ path, text: readFileSync(`${top}/${path}`, 'utf8') }] : [];
  }

  test('docs/errors.md lists every error code', () => {
    const codes = [
      ...unionMembers(file('runtime/errors.ts'), 'ErrorCode'),
      ...unionMembers(file('upstream/upstream-error.ts'), 'UpstreamErrorCode'),
    ];
    expect(codes).toContain('unreachable');
    expect(page('errors.md').flatMap((errors) => undocumented(codes, errors))).toEqual([]);
  });

  test('docs/configuration.md names every option', () => {
    const names = [
      ...optionNames(file('options.ts'), 'ProxyCacheOptions'),
      ...optionNames(file('upstream/upstream-options.ts'), 'UpstreamOptions'),
      ...optionNames(file('upstream/upstream-options.ts'), 'UpstreamTls'),
    ];
    expect(names).toContain('upstreams');
    expect(page('configuration.md').flatMap((configuration) => undocumented(names, configuration))).toEqual([]);
  });

  test('a code or an option that a page leaves out is found', () => {
    const source = planted(
      'a.ts',
      "export type Code = 'one' | 'not-two';\nexport interface Options { kept: string; lost?: { inner: number } }",
    );
    const text = 'The code `one`, and two; not-two is not in code.\n\n```ts\n{ kept: "x", lost: {} }\n```\n';
    const docs = { path: 'docs/a.md', text };
    expect(undocumented(unionMembers(source, 'Code'), docs)).toEqual(['docs/a.md: says nothing of not-two']);
    expect(undocumented(optionNames(source, 'Options'), docs)).toEqual(['docs/a.md: says nothing of lost.inner']);
    expect(() => unionMembers(source, 'Other')).toThrow('no union Other');
    expect(() => optionNames(source, 'Other')).toThrow('no interface Other');
  });
});

describe('public packages are released as one', () => {
  test('their versions and engines agree', () => {
    expect(disagreements(readPackages())).toEqual([]);
  });

  test('another version or engine is found, except of a private package', () => {
    const node = '>=20.18.1';
    const packages = [
      { name: 'a', version: '1.0.0', engines: { node } },
      { name: 'b', version: '1.0.1', engines: { node } },
      { name: 'c', version: '1.0.0' },
      { name: 'd', version: '2.0.0', private: true },
    ];
    expect(disagreements(packages)).toEqual(['b: version 1.0.1, a 1.0.0', 'c: node undefined, a >=20.18.1']);
  });
});
