import { redact } from '../upstream/redact.ts';
import type { AccessRequest } from './hooks.ts';

const shown = '[redacted]';

/** What a hook says, as it may be shown: redacted, and without the credentials that the request brought. */
export function withoutCredentials(text: string, request: Pick<AccessRequest, 'headers'>): string {
  let clean = text;
  for (const secret of secretsOf(request.headers.get('authorization'))) clean = clean.replaceAll(secret, shown);
  return redact(clean);
}

function secretsOf(authorization: string | null): string[] {
  const [, scheme = '', value = ''] = /^\s*(\S+)\s+(.*?)\s*$/.exec(authorization ?? '') ?? [];
  if (scheme.toLowerCase() !== 'basic') return longestFirst([value, ...(scheme === '' ? [authorization ?? ''] : [])]);
  // RFC 7617 2: the user's name ends at the first colon; it is no secret, and the password is one also by itself.
  const pair = Buffer.from(value, 'base64').toString();
  return longestFirst([value, pair, pair.slice(pair.indexOf(':') + 1)]);
}

const longestFirst = (secrets: string[]) =>
  secrets.filter((secret) => secret !== '').sort((one, other) => other.length - one.length);
