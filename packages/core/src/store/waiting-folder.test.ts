import { expect, test } from 'vitest';
import { digestOf } from '../oci/digest.ts';
import { systemClock } from '../runtime/clock.ts';
import { createWaitingFolder } from './waiting-folder.ts';

test('a folder of waiting files was made for ever where the one above it takes no folders', async () => {
  const folder = createWaitingFolder('/proc', systemClock);
  const bytes = Buffer.from('some content');
  await expect(folder.write(bytes, digestOf(bytes))).rejects.toThrow('/proc takes no folders (ENOENT)');
  await expect(folder.takeOver()).rejects.toThrow('/proc takes no folders (ENOENT)');
});
