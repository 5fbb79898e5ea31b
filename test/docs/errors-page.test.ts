import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { errorResponse } from '../../packages/core/src/http/error-response.ts';
import { type ErrorCode, ProxyCacheError } from '../../packages/core/src/runtime/errors.ts';
import { UpstreamError, type UpstreamErrorCode } from '../../packages/core/src/upstream/upstream-error.ts';
import { codeWords, readPage, root, tableRows } from './markdown.ts';

const page = readPage('docs/errors.md').text;
const [ofOurs = '', ofUpstreams = ''] = page.split('\n## ProxyCacheError\n')[1]?.split('\n## UpstreamError\n') ?? [];

/** The members of a union of strings in a source file. */
function unionIn(file: string, name: string): string[] {
  const source = readFileSync(join(root, 'packages/core/src', file), 'utf8');
  const union = new RegExp(`export type ${name} =([^;]+);`).exec(source)?.[1] ?? '';
  return [...union.matchAll(/'([^']+)'/g)].map(([, member]) => member ?? '');
}

/** Code, status and OCI code of each row of a part of the page. */
function documented(part: string): { code: string; status: number; oci: string }[] {
  return tableRows(part).map(([code = '', status = '', oci = '']) => ({
    code: codeWords(code)[0] ?? '',
    status: Number(status),
    oci: codeWords(oci)[0] ?? '',
  }));
}

function answered(error: unknown): { status: number; oci: string } {
  const response = errorResponse(error, { method: 'GET' }, { now: 0 });
  const body = JSON.parse(Buffer.from(response.body as Uint8Array).toString());
  return { status: response.status, oci: body.errors[0].code };
}

describe.each([
  [
    'ProxyCacheError',
    ofOurs,
    'runtime/errors.ts',
    'ErrorCode',
    (code: string) => new ProxyCacheError(code as ErrorCode, ''),
  ],
  [
    'UpstreamError',
    ofUpstreams,
    'upstream/upstream-error.ts',
    'UpstreamErrorCode',
    (code: string) => new UpstreamError(code as UpstreamErrorCode, '', { upstream: 'x' }),
  ],
])('the table of %s', (_class, part, file, union, make) => {
  it('lists exactly the codes of the type', () => {
    const codes = unionIn(file, union);
    expect(codes.length).toBeGreaterThan(10);
    expect(documented(part).map(({ code }) => code)).toEqual(expect.arrayContaining(codes));
    expect(documented(part)).toHaveLength(codes.length);
  });

  it('gives the status and the OCI code that clients see', () => {
    expect(documented(part)).toEqual(documented(part).map(({ code }) => ({ code, ...answered(make(code)) })));
  });

  it('says for each code what it means and how to solve it', () => {
    for (const row of tableRows(part)) {
      expect(row).toHaveLength(5);
      expect(row.filter((cell) => cell === '')).toEqual([]);
    }
  });
});
