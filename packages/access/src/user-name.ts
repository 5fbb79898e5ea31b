// What an identity's name may have in core: it stands in audits.
const longestName = 256;

/** What keeps a name from being that of a user; `undefined`: nothing. */
export function userNameProblem(name: string): string | undefined {
  // RFC 7617 2: a user-id has no colon, and no control characters.
  if (name !== '' && name.length <= longestName && !/[:\p{Cc}\u2028\u2029]/u.test(name)) return undefined;
  return `expected a user name of 1 to ${longestName} characters, without ":" and control characters`;
}
