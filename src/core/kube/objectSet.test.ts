import { describe, expect, it } from 'vitest';
import type { KubeObject } from '../model.ts';
import { createObjectSet } from './objectSet.ts';

const object = (kind: string, namespace: string | undefined, name: string, apiVersion = 'v1'): KubeObject => ({
  apiVersion,
  kind,
  metadata: namespace === undefined ? { name } : { name, namespace },
});

describe('createObjectSet', () => {
  it('finds objects by kind, namespace and name', () => {
    const set = createObjectSet([
      object('Service', 'b', 'one'),
      object('Service', 'a', 'two'),
      object('Node', undefined, 'node'),
    ]);
    expect(set.size).toBe(3);
    expect(set.get('Service', 'a', 'two')?.metadata.name).toBe('two');
    expect(set.get('Service', 'a', 'one')).toBeUndefined();
    expect(set.get('Node', undefined, 'node')?.kind).toBe('Node');
    expect(set.get('Pod', 'a', 'two')).toBeUndefined();
  });

  it('lists in the same order whatever the order of arrival, in one namespace or in all', () => {
    const objects = [object('Service', 'b', 'x'), object('Service', 'a', 'z'), object('Service', 'a', 'y')];
    const names = (list: readonly KubeObject[]) => list.map((o) => `${o.metadata.namespace ?? ''}/${o.metadata.name}`);
    expect(names(createObjectSet(objects).list('Service'))).toEqual(['a/y', 'a/z', 'b/x']);
    expect(names(createObjectSet(objects.reverse()).list('Service'))).toEqual(['a/y', 'a/z', 'b/x']);
    expect(names(createObjectSet(objects).list('Service', 'a'))).toEqual(['a/y', 'a/z']);
    expect(createObjectSet(objects).list('Ingress')).toEqual([]);
  });

  it('keeps one object of two versions of the same', () => {
    const set = createObjectSet([
      object('Ingress', 'a', 'x', 'networking.k8s.io/v1'),
      object('Ingress', 'a', 'x', 'extensions/v1beta1'),
    ]);
    expect(set.size).toBe(1);
    expect(set.list('Ingress')[0]?.apiVersion).toBe('networking.k8s.io/v1');
  });

  it('does not change when the map of unreadable kinds does', () => {
    const unreadable = new Map([['Ingress', { reason: 'forbidden' as const, message: 'not allowed' }]]);
    const set = createObjectSet([], unreadable);
    unreadable.clear();
    expect(set.unreadable.get('Ingress')?.reason).toBe('forbidden');
    expect(createObjectSet([]).unreadable.size).toBe(0);
  });
});
