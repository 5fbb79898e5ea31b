import { isIPv4 } from 'node:net';
import { about, flag, integer, mapping, optional, origin, text } from './config-values.ts';

/** The shortest token that is taken, in characters: it is all that keeps others out. */
export const shortestToken = 32;

/** The key `admin`: the operations API, at an address of its own. */
export const adminSchema = mapping({
  host: about(text('address'), 'Address of the operations API; another than a loopback address wants a token').prefault(
    '127.0.0.1',
  ),
  port: about(integer(0, 65_535), 'Its port; 0 picks a free one, which is logged'),
  token: optional(
    text(),
    `What its users send as \`Authorization: Bearer\`, ${shortestToken} characters or more`,
    'users of this machine need none',
  ),
  tokenFile: optional(text('file'), 'The same in a file'),
  publicUrl: optional(origin(), 'Origin that browsers reach it at', 'what `Host` says'),
  maxJobs: optional(integer(1, 1_000), 'Jobs at once; over it 503', '8'),
  allowHostCredentials: optional(
    flag(),
    'Let upstreams that come over it name files and programs of this machine for their credentials',
    'false',
  ),
  allowReferences: optional(
    flag(),
    'Let upstreams that come over it name secrets of `persistUpstreams.secretsFolder`, each of which they could send anywhere',
    'false',
  ),
})
  .refine(({ token, tokenFile }) => token === undefined || tokenFile === undefined, {
    error: 'expected token or tokenFile, not both',
  })
  .refine(({ token }) => token === undefined || token.length >= shortestToken, {
    path: ['token'],
    error: `expected ${shortestToken} characters or more`,
  })
  .refine(({ host, token, tokenFile }) => token !== undefined || tokenFile !== undefined || isLoopback(host), {
    path: ['host'],
    error: 'expected a loopback address, or token or tokenFile beside it: whoever reaches it could steer the cache',
  });

/** Whether an address to listen at is reached from this machine alone. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}
