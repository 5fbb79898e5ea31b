import { about, duration, flag, integer, list, mapping, optional, text } from './config-values.ts';

const exactlyOne = (...given: readonly unknown[]) => given.filter((one) => one !== undefined).length === 1;

const user = mapping({
  name: about(text(), 'As the client sends it, and as audits name it'),
  password: optional(text(), 'In plain: `${NAME}` takes it from the environment'),
  passwordFile: optional(text('file'), 'In a file, whose last line break does not count; read when the server starts'),
  hash: optional(text(), 'Of bcrypt, as `htpasswd -nB NAME` prints it behind the colon'),
}).refine(({ password, passwordFile, hash }) => exactlyOne(password, passwordFile, hash), {
  error: 'expected one of password, passwordFile and hash',
});

const basic = mapping({
  htpasswd: optional(text('file'), 'File of users, as `htpasswd -B` writes it; read again when it changes'),
  users: optional(list(user).meta({ type: 'list' }), ''),
  realm: optional(text(), 'What clients may show where they ask for a password', 'proxycache'),
  cacheFor: optional(duration(), 'How long a password that was right is not checked again', '60s'),
  threads: optional(integer(1, 64), 'Worker threads that check hashes', 'one less than there are cores, 1 to 4'),
}).refine(({ htpasswd, users }) => exactlyOne(htpasswd, users), { error: 'expected either htpasswd or users' });

/** The key `access`: who may pull. */
export const accessSchema = mapping({
  anonymous: about(flag(), 'Let those pull, too, who bring no credentials').prefault(false),
  audit: optional(flag(), 'A line for each pull: who, what, and what became of it', 'true'),
  basic: optional(basic, ''),
}).refine(({ anonymous, basic }) => anonymous || basic !== undefined, {
  error: 'expected basic, or anonymous: true, as nobody could be let in',
});
