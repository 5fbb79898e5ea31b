import { expect, test } from 'vitest';
import { replyCode } from './redis-failure.ts';

test('the code of what a script raised is found in the words of Redis 5 and 6, too', () => {
  const words = "ERR Error running script (call to f_0): @user_script:21: @user_script: 21: -READONLY You can't write";
  expect(replyCode(new Error(words))).toBe('READONLY');
  expect(replyCode(new Error('NOPERM no permission'))).toBe('NOPERM');
  expect(replyCode(new Error('ERR unknown command'))).toBe('ERR');
  expect(replyCode(new Error('read ECONNRESET'))).toBeUndefined();
});
