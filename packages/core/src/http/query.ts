/**
 * The text with its percent-encoding undone once. A `+` stays a plus: no value of this API may hold a space, and media
 * types hold pluses.
 *
 * @returns `undefined` when the encoding is broken
 */
export function decodePercent(text: string): string | undefined {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** What a query says under one name: nothing, one readable value, or something that cannot be relied on. */
export type QueryValue = { kind: 'none' } | { kind: 'one'; value: string } | { kind: 'repeated' } | { kind: 'broken' };

const none: QueryValue = { kind: 'none' };

/** Looks a parameter up in a query (without its `?`). A parameter whose own name is badly encoded is nobody's. */
export function queryValue(query: string, name: string): QueryValue {
  let found: QueryValue = none;
  let from = 0;
  while (from < query.length) {
    const ampersand = query.indexOf('&', from);
    const end = ampersand < 0 ? query.length : ampersand;
    // Within the parameter only: a search to the end of the text for each would take its length squared.
    const parameter = query.slice(from, end);
    const equals = parameter.indexOf('=');
    if (decodePercent(equals < 0 ? parameter : parameter.slice(0, equals)) === name) {
      if (found !== none) return { kind: 'repeated' };
      const value = decodePercent(equals < 0 ? '' : parameter.slice(equals + 1));
      found = value === undefined ? { kind: 'broken' } : { kind: 'one', value };
    }
    from = end + 1;
  }
  return found;
}
