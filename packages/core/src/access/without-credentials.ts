import { redact } from '../upstream/redact.ts';
import type { AccessRequest } from './hooks.ts';

const shown = '[redacted]';
const mark = '\0';

/** What a hook says, as it may be shown: redacted, and without the credentials that the request brought. */
export function withoutCredentials(text: string, request: Pick<AccessRequest, 'headers'>): string {
  let clean = text;
  // A mark first: a password may be a letter of what stands in its place.
  for (const secret of secretsOf(request.headers.get('authorization'))) clean = clean.replaceAll(secret, mark);
  return redact(clean.replaceAll(mark, shown));
}

function secretsOf(authorization: string | null): string[] {
  const [scheme, value] = partsOf(authorization ?? '');
  if (scheme.toLowerCase() !== 'basic') return longestFirst([value, ...(scheme === '' ? [authorization ?? ''] : [])]);
  // RFC 7617 2: the user's name ends at the first colon; it is no secret, and the password is one also by itself.
  const pair = Buffer.from(value, 'base64').toString();
  return longestFirst([value, pair, pair.slice(pair.indexOf(':') + 1)]);
}

/** Scheme and value; no scheme where there is no space. By hand: a pattern takes the square of a long row of blanks. */
function partsOf(authorization: string): [scheme: string, value: string] {
  const text = authorization.trimStart();
  const at = text.search(/\s/);
  return at < 0 ? ['', ''] : [text.slice(0, at), text.slice(at).trim()];
}

const longestFirst = (secrets: string[]) =>
  secrets.filter((secret) => secret !== '').sort((one, other) => other.length - one.length);
