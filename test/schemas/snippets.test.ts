/** Every snippet, expanded with its defaults as VS Code does, is YAML without a finding. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { repository } from '../paths.ts';
import { schemaFor } from '../../src/ui/editor/manifestSchemas.ts';
import { validate } from './languageService.ts';

interface Snippet {
  prefix: string;
  description: string;
  body: string[];
}

const read = (file: string): unknown => JSON.parse(readFileSync(path.join(repository, file), 'utf8'));
const snippets = read('snippets/milvus-layer7.json') as Record<string, Snippet>;

/** The text that VS Code inserts when nothing is typed over: defaults, and the first of choices. */
function expand({ body }: Snippet): string {
  return `${body.join('\n')}\n`
    .replaceAll(/\$\{\d+\|([^,|]*)[^}]*\|\}/g, '$1')
    .replaceAll(/\$\{\d+:([^}]*)\}/g, '$1')
    .replaceAll(/\$\d+/g, '');
}

/** Annotations alone are no object: they stand in a Service here. */
function whole(snippet: Snippet): string {
  const text = expand(snippet);
  if (!text.startsWith('annotations:')) return text;
  return `apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  ${text.trimEnd().replaceAll('\n', '\n  ')}\n`;
}

const ofSchemas = ['milvus-backendconfig', 'milvus-managedcertificate', 'milvus-frontendconfig', 'milvus-l7'].concat([
  'milvus-ingress-self-managed',
  'milvus-ingress-google-managed',
  'milvus-service-annotations',
]);

describe.each(Object.entries(snippets))('%s', (_, snippet) => {
  it('is YAML without placeholders left and without findings', async () => {
    const text = whole(snippet);
    expect(text).not.toMatch(/\$[{\d]/);
    for (const document of parseAllDocuments(text)) expect([...document.errors, ...document.warnings]).toEqual([]);
    expect(schemaFor(text) !== undefined).toBe(ofSchemas.includes(snippet.prefix));
    expect(await validate(text)).toEqual([]);
  });

  it('gives a placeholder the same default wherever it stands', () => {
    const defaults = new Map<string, string>();
    for (const [, number = '', text = ''] of snippet.body.join('\n').matchAll(/\$\{(\d+):([^}]*)\}/g)) {
      expect(defaults.get(number) ?? text).toBe(text);
      defaults.set(number, text);
    }
    expect(snippet.description).not.toBe('');
  });
});

it('has one snippet for each part and one for the whole set, under names of our own', () => {
  const prefixes = Object.values(snippets).map(({ prefix }) => prefix);
  expect(new Set(prefixes).size).toBe(prefixes.length);
  expect(prefixes).toEqual(
    expect.arrayContaining([...ofSchemas, 'milvus-tls-secret', 'milvus-tls-values', 'milvus-operator-tls']),
  );
  for (const prefix of prefixes) expect(prefix).toMatch(/^milvus-/);
});

it('is what the manifest contributes for YAML', () => {
  const { contributes } = read('package.json') as { contributes: { snippets: unknown } };
  expect(contributes.snippets).toEqual([{ language: 'yaml', path: './snippets/milvus-layer7.json' }]);
});

it('names objects of the whole set alike wherever they are referred to', () => {
  const set = Object.values(snippets).find(({ prefix }) => prefix === 'milvus-l7');
  const documents = parseAllDocuments(expand(set ?? { prefix: '', description: '', body: [] })).map(
    (document) => document.toJS() as { kind: string; metadata: { name: string; annotations?: Record<string, string> } },
  );
  const of = (kind: string) => documents.find((document) => document.kind === kind)?.metadata;
  expect(JSON.parse(of('Service')?.annotations?.['cloud.google.com/backend-config'] ?? '')).toEqual({
    default: of('BackendConfig')?.name,
  });
  expect(of('Ingress')?.annotations?.['networking.gke.io/managed-certificates']).toBe(of('ManagedCertificate')?.name);
});

it('moves the REST port in the Helm values, which the guide leaves where Milvus does not start', () => {
  const values = Object.values(snippets).find(({ prefix }) => prefix === 'milvus-tls-values');
  const [document] = parseAllDocuments(expand(values ?? { prefix: '', description: '', body: [] }));
  const { extraConfigFiles } = document?.toJS() as { extraConfigFiles: { 'user.yaml': string } };
  const [user] = parseAllDocuments(extraConfigFiles['user.yaml']);
  expect(user?.toJS()).toEqual({ common: { security: { tlsMode: 1 } }, proxy: { http: { port: 8080 } } });
});
