import { about, duration, mapping, optional, text } from './config-values.ts';

/** Whether upstreams that are changed while the server runs stay so. */
export const persistUpstreamsSchema = mapping({
  encryptionKey: optional(
    text(),
    'Encrypts the secrets that are stored, 32 bytes or more; the same for all servers of a storage',
    'none is stored',
  ),
  secretsFolder: optional(
    text('folder'),
    '`auth.reference: NAME` means its files `NAME/username` and `NAME/password`, or `NAME/token`',
  ),
  refreshEvery: about(duration(), 'How often it is looked at for changes that nobody told of').prefault('10s'),
});
