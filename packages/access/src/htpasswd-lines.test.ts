import { hashSync } from 'bcryptjs';
import { describe, expect, test } from 'vitest';
import { parseHtpasswd } from './htpasswd-lines.ts';

const hash = hashSync('wonderland', 4);
const parse = (text: string | Uint8Array) =>
  parseHtpasswd(typeof text === 'string' ? Buffer.from(text) : text, '/etc/users');

describe('an htpasswd file', () => {
  test.each([
    ['one user', `alice:${hash}`],
    ['a line break at the end', `alice:${hash}\n`],
    ['line breaks of Windows and a mark at the beginning', `\ufeffalice:${hash}\r\n`],
    ['empty lines and remarks', `\n# people\n\nalice:${hash}\n  \n`],
    ['a comment behind the hash', `alice:${hash}:of the blue team\n`],
    ['spaces behind the hash', `alice:${hash}  \n`],
    ['the $2a$ of other tools', `alice:${hash.replace('$2b$', '$2a$')}`],
    ["the $2y$ of Apache's", `alice:${hash.replace('$2b$', '$2y$')}`],
  ])('is read, with %s', (_, text) => {
    expect([...parse(text).keys()]).toEqual(['alice']);
  });

  test('holds any number of users, with names in any script', () => {
    const users = parse(`alice:${hash}\nZoë:${hash}\nбоб:${hash}\nmy name:${hash}\n`);
    expect([...users.keys()]).toEqual(['alice', 'Zoë', 'боб', 'my name']);
    expect(users.get('Zoë')).toEqual({ text: hash, rounds: 16 });
  });

  test.each([
    ['$apr1$qwertyui$1uSGxWz9a3sAK5l0aQo0x.', 'an MD5 hash ($apr1$)'],
    ['$1$qwertyui$1uSGxWz9a3sAK5l0aQo0x.', 'an MD5 hash ($1$)'],
    ['{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=', 'a SHA-1 hash ({SHA})'],
    ['{SSHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=', 'a salted SHA-1 hash ({SSHA})'],
    ['$5$salt$hash', 'a SHA-256 crypt hash ($5$)'],
    ['$6$salt$hash', 'a SHA-512 crypt hash ($6$)'],
    ['$argon2id$v=19$m=65536', 'an Argon2 hash'],
    ['$2x$05$abc', 'a hash of a faulty bcrypt'],
    ['rqXexS6ZhobKA', 'a crypt hash or a password in plain'],
    ['Tr0ub4dor&3', 'no hash, perhaps a password in plain'],
    ['', 'no hash, perhaps a password in plain'],
    [hash.slice(0, 40), 'a bcrypt hash that is cut off or damaged'],
    [hash.replace('$04$', '$31$'), 'a bcrypt hash of cost 31, where 4 to 15 are accepted'],
  ])('with %s is refused: which line it is, and what to do', (text, what) => {
    const parsing = () => parse(`bob:${hash}\nalice:${text}\n`);
    expect(parsing).toThrow(`line 2: alice has ${what}`);
    expect(parsing).toThrow('make it anew: htpasswd -B /etc/users alice');
  });

  test.each([
    ['empty', '', 'it holds no user; add one: htpasswd -B /etc/users USER'],
    ['of remarks alone', '# nobody\n\n', 'it holds no user'],
    ['with a line without a colon', `alice:${hash}\nTr0ub4dor&3\n`, 'line 2: expected USER:HASH'],
    ['with a user without a name', `:${hash}\n`, 'line 1: expected a user name of 1 to 256 characters'],
    ['with a control character in a name', `ali\0ce:${hash}`, 'line 1: expected a user name'],
    ['with a user twice', `alice:${hash}\nbob:${hash}\nalice:${hash}`, 'line 3: alice is in line 1 already'],
    ['in Latin-1', Buffer.from(`Zo\xeb:${hash}`, 'latin1'), 'it is not in UTF-8'],
  ])('that is %s is refused', (_, text, message) => {
    expect(() => parse(text)).toThrow(message);
  });

  test('never shows what may be a password', () => {
    const text = [
      'Tr0ub4dor&3',
      'alice:Tr0ub4dor&3',
      'bob:$apr1$Tr0ub4dor&3',
      'eve:Tr0ub4dor&3:x',
      ':Tr0ub4dor&3',
    ].join('\n');
    expect(() => parse(text)).toThrow('and 2 more lines');
    expect(() => parse(text)).not.toThrow(/Tr0ub4dor/);
  });
});
