import { describe, expect, it } from 'vitest';
import { isProxyCacheError, ProxyCacheError } from './errors.ts';

describe('ProxyCacheError', () => {
  it('keeps its code, its message and its cause', () => {
    const cause = new Error('ENOSPC');
    const error = new ProxyCacheError('storage-full', 'the disk is full', { cause });
    expect(error).toMatchObject({ name: 'ProxyCacheError', code: 'storage-full', message: 'the disk is full', cause });
    expect(error).toBeInstanceOf(Error);
  });

  it('is known as one also when another copy of this package threw it', () => {
    const foreign = Object.assign(new Error('x'), { code: 'denied', [Symbol.for('proxycache.error')]: true });
    expect(isProxyCacheError(new ProxyCacheError('denied', 'x'))).toBe(true);
    expect(isProxyCacheError(foreign)).toBe(true);
  });

  it.each([undefined, null, 'denied', new Error('denied'), { code: 'denied', name: 'ProxyCacheError' }])(
    'is not %s',
    (value) => {
      expect(isProxyCacheError(value)).toBe(false);
    },
  );
});
