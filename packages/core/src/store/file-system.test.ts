import { expect, test } from 'vitest';
import { ProxyCacheError } from '../runtime/errors.ts';
import { storageFailure } from './file-system.ts';

const failure = (code: string) => Object.assign(new Error(`${code}: it failed`), { code });

test('says what was done, why it failed, and whether the disk is full', () => {
  const cause = failure('EACCES');
  expect(storageFailure('store x', cause)).toMatchObject({
    code: 'storage-failed',
    message: 'could not store x: EACCES: it failed',
    cause,
  });
  for (const code of ['ENOSPC', 'EDQUOT']) {
    expect(storageFailure('store x', failure(code))).toMatchObject({ code: 'storage-full' });
  }
});

test('passes our own errors on as they are', () => {
  const error = new ProxyCacheError('digest-invalid', 'no digest');
  expect(storageFailure('store x', error)).toBe(error);
});
