/** This package's version, as its package.json says: a test holds the two together. */
export const version: string = '0.0.0';
