/** Defaults, and over them what is given. What is given as `undefined` is left out: it has its default. */
export function withDefaults<
  Defaults extends object,
  Given extends { [Name in keyof Defaults]?: Defaults[Name] | undefined },
>(defaults: Defaults, given: Given | undefined): Defaults & Omit<Given, keyof Defaults> {
  const named = Object.entries(given ?? {}).filter(([, value]) => value !== undefined);
  return { ...defaults, ...(Object.fromEntries(named) as Omit<Given, keyof Defaults>) };
}
