import { describe, expect, test } from 'vitest';
import type { KubeObject } from '../model.ts';
import { closeLayer4Patch, cutOverPatch } from './operator.ts';

const options = { serviceAnnotations: { 'cloud.google.com/neg': '{"ingress":true}' } };
const milvus = (spec: unknown): KubeObject => ({
  apiVersion: 'milvus.io/v1beta1',
  kind: 'Milvus',
  metadata: { name: 'mi', namespace: 'ns', resourceVersion: '7' },
  spec,
});
/** Server-side apply, as far as it matters here: maps merge. */
const merged = (base: unknown, patch: unknown): unknown => {
  if (typeof base !== 'object' || base === null || typeof patch !== 'object' || patch === null) return patch;
  return Object.fromEntries(
    Object.entries({ ...base, ...patch }).map(([key, value]) => [
      key,
      key in base && key in patch
        ? merged((base as Record<string, unknown>)[key], (patch as Record<string, unknown>)[key])
        : value,
    ]),
  );
};

describe('cut-over', () => {
  test.each([
    ['cluster', 'proxy'],
    ['standalone', 'standalone'],
  ])('%s', (mode, component) => {
    const live = milvus({ mode, config: { proxy: { maxNameLength: 255 } } });
    const patch = cutOverPatch(live, options);
    expect(patch).toEqual({
      apiVersion: 'milvus.io/v1beta1',
      kind: 'Milvus',
      metadata: { name: 'mi', namespace: 'ns' },
      spec: {
        config: { common: { security: { tlsMode: 1 } }, proxy: { http: { port: 8080 } } },
        components: { updateConfigMapOnly: false, [component]: options },
      },
    });
    expect(cutOverPatch(milvus(merged(live.spec, patch?.spec)), options)).toBeUndefined();
  });

  test('leaves the REST port of the user', () => {
    const patch = cutOverPatch(milvus({ config: { proxy: { http: { port: 9000 } } } }), options);
    expect(patch?.spec).toMatchObject({ config: { common: { security: { tlsMode: 1 } } } });
    expect(patch?.spec).not.toHaveProperty('config.proxy');
  });

  test('only annotations missing: the applied whole still says what earlier applies said', () => {
    const live = milvus({ config: { common: { security: { tlsMode: 1 } }, proxy: { http: { port: 8080 } } } });
    expect(cutOverPatch(live, options)?.spec).toMatchObject({
      config: { common: { security: { tlsMode: 1 } }, proxy: { http: { port: 8080 } } },
    });
  });

  test('annotations with the same meaning are no change', () => {
    const live = milvus({
      config: { common: { security: { tlsMode: '1' } }, proxy: { http: { enabled: false } } },
      components: { standalone: { serviceAnnotations: { 'cloud.google.com/neg': '{ "ingress": true }' } } },
    });
    expect(cutOverPatch(live, options)).toBeUndefined();
  });
});

describe('closing Layer 4', () => {
  test('says the type, and all that the cut-over said', () => {
    const open = milvus({
      mode: 'cluster',
      config: { common: { security: { tlsMode: 1 } }, proxy: { http: { port: 8080 } } },
      components: { proxy: { serviceType: 'LoadBalancer', ...options } },
    });
    const patch = closeLayer4Patch(open, options);
    expect(patch?.spec).toEqual({
      config: { common: { security: { tlsMode: 1 } }, proxy: { http: { port: 8080 } } },
      components: { updateConfigMapOnly: false, proxy: { ...options, serviceType: 'ClusterIP' } },
    });
    const closed = milvus(merged(open.spec, patch?.spec));
    expect(closeLayer4Patch(closed, options)).toBeUndefined();
    expect(cutOverPatch(closed, { serviceAnnotations: { a: 'b' } })?.spec).toMatchObject({
      components: { proxy: { serviceType: 'ClusterIP' } },
    });
  });
  test('is nothing to do for the default type', () => {
    expect(closeLayer4Patch(milvus({}), options)).toBeUndefined();
  });
});
