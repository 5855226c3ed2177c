import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const read = (file: string): string => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
const manifest = read('package.json');
const texts = JSON.parse(read('package.nls.json')) as Record<string, string>;

it('has a text for every key of the manifest, and no text that is not used', () => {
  const used = [...manifest.matchAll(/"%([\w.]+)%"/g)].map(([, key]) => key);
  expect([...new Set(used)].sort()).toEqual(Object.keys(texts).sort());
});

it('declares every setting that is read, and reads every setting that is declared', () => {
  const declared = Object.keys(
    (JSON.parse(manifest) as { contributes: { configuration: { properties: Record<string, unknown> } } }).contributes
      .configuration.properties,
  ).map((name) => name.replace('milvusLayer7.', ''));
  const source = read('src/ui/settings.ts');
  const readKeys = [...source.matchAll(/(?:text|list|get<unknown>)\('([\w.]+)'/g)].map(([, key]) => key);
  expect(readKeys.sort()).toEqual(declared.sort());
});

it('registers every command that is declared, and declares every command that is registered', () => {
  const declared = (
    JSON.parse(manifest) as { contributes: { commands: { command: string }[] } }
  ).contributes.commands.map(({ command }) => command);
  const registered = [...read('src/extension.ts').matchAll(/command\('(\w+)'/g)].map(
    ([, id]) => `milvusLayer7.${id ?? ''}`,
  );
  expect(registered.sort()).toEqual(declared.sort());
});

it('keeps paths, programs and servers of an untrusted workspace out', () => {
  const { capabilities, contributes } = JSON.parse(manifest) as {
    capabilities: { untrustedWorkspaces: { restrictedConfigurations: string[] } };
    contributes: { configuration: { properties: Record<string, unknown> } };
  };
  const harmless = ['milvusLayer7.test.deadline'];
  expect([...capabilities.untrustedWorkspaces.restrictedConfigurations, ...harmless].sort()).toEqual(
    Object.keys(contributes.configuration.properties).sort(),
  );
});
