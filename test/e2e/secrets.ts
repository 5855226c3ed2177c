/** Looks for what must never be written: private keys and tokens of a run in everything the run has left on disk. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { tool } from '../milvusRelease.ts';
import { sandbox } from './environment.ts';

/** How the sandbox' exec credential begins each token (`test/sandbox/credentials`). */
const tokenPrefix = 'ya29.sandbox-';

/** Pieces of the private keys of all TLS Secrets in a namespace, as PEM and as the API's base64, and of any token. */
export async function secretsOf(namespace: string): Promise<string[]> {
  const text = await tool(sandbox.env, 'kubectl', [
    ...['-n', namespace, 'get', 'secrets', '--field-selector', 'type=kubernetes.io/tls', '-o', 'json'],
  ]);
  const { items } = JSON.parse(text) as { items: { data: Record<string, string> }[] };
  const keys = items.flatMap(({ data }) => data['tls.key'] ?? []);
  return [
    tokenPrefix,
    ...keys.flatMap((key) => {
      const body = Buffer.from(key, 'base64').toString('utf8').split('\n')[1] ?? '';
      return [key.slice(60, 120), body.slice(0, 48)].filter((piece) => piece.length >= 40);
    }),
  ];
}

/** Files below the folders that hold any of the pieces. */
export function filesHolding(folders: readonly string[], pieces: readonly string[]): string[] {
  const needles = pieces.map((piece) => Buffer.from(piece));
  return folders.flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .map((name) => path.join(folder, name))
      .filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile() === true)
      .filter((file) => {
        const content = readFileSync(file);
        return needles.some((needle) => content.includes(needle));
      }),
  );
}
