// Writes the table of docs/configuration.md from the standalone server's schema: npm run docs:configuration
import { readFileSync, writeFileSync } from 'node:fs';
import { configTable } from '../examples/standalone/dist/config-keys.js';
import { configSchema } from '../examples/standalone/dist/config-schema.js';

const page = new URL('../docs/configuration.md', import.meta.url);
const text = readFileSync(page, 'utf8');
const between = /(<!-- table -->)[\s\S]*(<!-- end of table -->)/;
writeFileSync(
  page,
  text.replace(between, (_, start, end) => `${start}\n\n${configTable(configSchema)}\n\n${end}`),
);
