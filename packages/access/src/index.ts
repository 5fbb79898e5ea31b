export type { Identity } from './identity.ts';
export { type PasswordOptions, passwordVerifier } from './password-options.ts';
export type { PasswordAttempt, PasswordVerifier } from './password-verifier.ts';
export type { StaticUser } from './static-users.ts';
