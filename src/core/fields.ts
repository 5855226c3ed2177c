/**
 * Reading of values whose shape nobody guarantees: objects of a cluster, output of a tool, JSON inside an annotation.
 * Nothing here throws; what is missing or of another type is `undefined` or empty.
 */

/** The value as a map of fields, empty when it is none. */
export function fields(value: unknown): Readonly<Record<string, unknown>> {
  return isRecord(value) ? value : {};
}

/** Whether the value is a map of fields: neither null nor a list. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value as a list, empty when it is none. */
export function items(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : [];
}

/** The value if it is a string that says something. */
export function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** The value if it is a finite number. */
export function number(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}

/** The field at the end of the path. Only own fields count. */
export function at(value: unknown, ...path: readonly string[]): unknown {
  let current = value;
  for (const name of path) {
    if (!isRecord(current) || !Object.hasOwn(current, name)) return undefined;
    current = current[name];
  }
  return current;
}

/** The JSON in a text; undefined when there is none or it does not parse. */
export function json(value: unknown): unknown {
  if (typeof value !== 'string') return undefined;
  try {
    return JSON.parse(value) as unknown;
  } catch {
    return undefined;
  }
}

/** The entries of a map whose values are non-empty strings. */
export function texts(value: unknown): Map<string, string> {
  const found = new Map<string, string>();
  for (const [key, entry] of Object.entries(fields(value))) {
    if (typeof entry === 'string' && entry !== '') found.set(key, entry);
  }
  return found;
}
