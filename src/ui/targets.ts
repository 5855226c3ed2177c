import type { Target } from '../core/model.ts';

/** One string for one release of one context; {@link parseKey} reads it back. */
export function targetKey({ context, namespace, release }: Target): string {
  return JSON.stringify([context, namespace, release]);
}

/** One string for one namespace of one context. */
export function namespaceKey(context: string, namespace: string): string {
  return JSON.stringify([context, namespace]);
}

/** The parts of a key that {@link targetKey} or {@link namespaceKey} made; throws for anything else. */
export function parseKey(key: string): string[] {
  const parts: unknown = JSON.parse(key);
  if (!Array.isArray(parts) || !parts.every((part) => typeof part === 'string')) throw new Error(`Not a key: ${key}`);
  return parts;
}

/** Parses what a webview, a tree item or another extension handed over; undefined when it names no release. */
export function parseTarget(value: unknown): Target | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if ('target' in value) return parseTarget(value.target);
  if (!('context' in value && 'namespace' in value && 'release' in value)) return undefined;
  const { context, namespace, release } = value;
  return typeof context === 'string' && typeof namespace === 'string' && typeof release === 'string'
    ? { context, namespace, release }
    : undefined;
}
