/**
 * A request target as path and query. RFC 9112 3.2.2: a server accepts the absolute form, `GET http://host/v2/ HTTP/1.1`,
 * too. What is neither (`*`) stays as it is.
 */
export function originForm(target: string): string {
  if (target.startsWith('/')) return target;
  const rest = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*(.*)$/i.exec(target)?.[1];
  if (rest === undefined) return target;
  return rest.startsWith('/') ? rest : `/${rest}`;
}
