import type { KubeObject, ObjectSet, Unreadable } from '../model.ts';

const nobody: ReadonlyMap<string, Unreadable> = new Map<string, Unreadable>();

/**
 * Makes an immutable set of Kubernetes objects. Lists are ordered by namespace and name, so that everything computed
 * from the set is the same for the same objects, in whichever order they arrived. Of two objects with the same kind,
 * namespace and name (one object in two served versions) the first is kept.
 *
 * @param unreadable kinds that could not be read, each with the reason.
 */
export function createObjectSet(
  objects: Iterable<KubeObject>,
  unreadable: ReadonlyMap<string, Unreadable> = nobody,
): ObjectSet {
  const kinds = new Map<string, Map<string, KubeObject>>();
  let size = 0;
  for (const object of objects) {
    let kind = kinds.get(object.kind);
    if (!kind) kinds.set(object.kind, (kind = new Map<string, KubeObject>()));
    const key = keyOf(object.metadata.namespace, object.metadata.name);
    if (kind.has(key)) continue;
    kind.set(key, object);
    size += 1;
  }
  const sorted = new Map<string, readonly KubeObject[]>();
  const all = (kind: string): readonly KubeObject[] => {
    const known = sorted.get(kind);
    if (known) return known;
    const list = [...(kinds.get(kind)?.entries() ?? [])]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, object]) => object);
    sorted.set(kind, list);
    return list;
  };
  return {
    list: (kind, namespace) =>
      namespace === undefined ? all(kind) : all(kind).filter((object) => object.metadata.namespace === namespace),
    get: (kind, namespace, name) => kinds.get(kind)?.get(keyOf(namespace, name)),
    unreadable: new Map(unreadable),
    size,
  };
}

/** A slash is allowed in neither part. */
function keyOf(namespace: string | undefined, name: string): string {
  return `${namespace ?? ''}/${name}`;
}
