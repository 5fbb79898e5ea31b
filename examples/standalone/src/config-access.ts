import { groupSchema, ruleSchema } from './config-rules.ts';
import { about, duration, flag, integer, list, mapping, optional, origin, text } from './config-values.ts';

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

const tokens = mapping({
  publicUrl: optional(origin(), 'Where clients reach this server', '`publicUrl`'),
  secret: optional(text(), 'What tokens are signed with, 32 bytes or more, the same for all servers'),
  secretFile: optional(text('file'), 'The same in a file; of several lines the first signs, and all verify'),
  privateKey: optional(text('file or PEM text'), 'In place of a secret: EC, or RSA of 2048 bits or more'),
  jwks: optional(text('file'), 'With it: public keys that verify, too, in the form of `/token/jwks`'),
  service: optional(text('name'), 'What tokens are good for, the same for all servers', 'host of `publicUrl`'),
  issuer: optional(text('name'), 'Who gives them', '`service`'),
  lifetime: optional(duration(), 'How long one is good for; clients renew them', '5m'),
})
  .refine(({ secret, secretFile, privateKey }) => exactlyOne(secret, secretFile, privateKey), {
    error: 'expected one of secret, secretFile and privateKey',
  })
  .refine(({ jwks, privateKey }) => jwks === undefined || privateKey !== undefined, {
    path: ['jwks'],
    error: 'expected `privateKey` beside it',
  });

/** The key `access`: who may pull. */
export const accessSchema = mapping({
  anonymous: about(flag(), 'Let those pull, too, who bring no credentials').prefault(false),
  audit: optional(flag(), 'A line for each pull: who, what, and what became of it', 'true'),
  within: optional(duration(), 'How long it may take to find out who asks, and whether he may pull; then 503', '5s'),
  basic: optional(basic, ''),
  tokens: optional(tokens, ''),
  groups: optional(list(groupSchema).meta({ type: 'list' }), ''),
  rules: optional(
    list(ruleSchema).meta({ type: 'list' }),
    'Who may pull what: the first rule that is about it decides, and where none is, it may not be pulled',
    'who is let in pulls everything',
  ),
})
  .refine(({ anonymous, basic }) => anonymous || basic !== undefined, {
    error: 'expected basic, or anonymous: true, as nobody could be let in',
  })
  .refine(({ basic, tokens }) => tokens === undefined || basic !== undefined, {
    path: ['tokens'],
    error: 'expected `basic` beside it, whose users are given tokens',
  });
