export { type AnyOfAccess, type AnyOfPart, type AuthenticateScheme, anyOf } from './any-of.ts';
export { type BasicAccess, type BasicOptions, basic } from './basic.ts';
export type { PasswordEvent, PasswordObserver } from './password-events.ts';
export { type PasswordOptions, passwordVerifier } from './password-options.ts';
export type { PasswordAttempt, PasswordVerifier } from './password-verifier.ts';
export type { StaticUser } from './static-users.ts';
