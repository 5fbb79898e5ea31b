/** A bcrypt hash as a file or an option has it. */
export interface BcryptHash {
  text: string;
  /** Rounds of key setup: 2 to the power of the cost. */
  rounds: number;
}

// Node's own thread would have 5 s for one check at 16, and whoever writes the file decides how long we work.
const highestCost = 15;

/** bcrypt reads no further: of a longer password, any with the same beginning would do. */
export const longestBcryptPassword = 72;

// What each other scheme of Apache's and nginx's files begins with, and what it is called.
const schemes: readonly (readonly [RegExp, string])[] = [
  [/^\$apr1\$/, 'an MD5 hash ($apr1$)'],
  [/^\$1\$/, 'an MD5 hash ($1$)'],
  [/^\{SHA\}/i, 'a SHA-1 hash ({SHA})'],
  [/^\{SSHA\}/i, 'a salted SHA-1 hash ({SSHA})'],
  [/^\$5\$/, 'a SHA-256 crypt hash ($5$)'],
  [/^\$6\$/, 'a SHA-512 crypt hash ($6$)'],
  [/^\$y\$/, 'a yescrypt hash ($y$)'],
  [/^\$argon2/, 'an Argon2 hash'],
  [/^\$2x?\$/, 'a hash of a faulty bcrypt ($2$, $2x$)'],
  [/^[./A-Za-z0-9]{13}$/, 'a crypt hash or a password in plain'],
];

/** @returns text that says what it is instead of a bcrypt hash, without showing any of what may be a password */
export function readBcryptHash(text: string): BcryptHash | string {
  const [, digits] = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/.exec(text) ?? [];
  if (digits !== undefined) {
    const cost = Number(digits);
    if (cost >= 4 && cost <= highestCost) return { text, rounds: 2 ** cost };
    return `a bcrypt hash of cost ${cost}, where 4 to ${highestCost} are accepted`;
  }
  if (/^\$2[aby]\$/.test(text)) return 'a bcrypt hash that is cut off or damaged';
  return schemes.find(([pattern]) => pattern.test(text))?.[1] ?? 'no hash, perhaps a password in plain';
}
