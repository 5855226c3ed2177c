import { at, isRecord, json, text } from '../fields.ts';
import type { KubeObject } from '../model.ts';
import { configKey } from './configYaml.ts';
import { resolveConfig, restSharesPort } from './effectiveConfig.ts';
import { movedRestPort } from './helmValues.ts';

/**
 * What to apply to a `Milvus` resource (milvus.io/v1beta1) so that Milvus speaks TLS behind the load balancer: TLS mode 1,
 * the REST port moved off the gRPC port, the Service annotations. Undefined when the resource already says so. Only what
 * we own is in it, for server-side apply.
 *
 * `updateConfigMapOnly: false` comes with a change of the configuration: the Operator, from 1.3.6 on, restarts no pod for
 * one otherwise (zilliztech/milvus-operator `apis/milvus.io/v1beta1`). Annotations go into the resource, because the
 * Operator merges them into the Service it owns.
 */
export function cutOverPatch(
  milvus: KubeObject,
  options: { serviceAnnotations: Readonly<Record<string, string>> },
): KubeObject | undefined {
  const config = configOf(milvus);
  const component = componentOf(milvus);
  const tls = config.tlsMode !== 1;
  const rest = restSharesPort(config);
  const annotations = Object.entries(options.serviceAnnotations).filter(
    ([key, value]) => !sameText(at(milvus, 'spec', 'components', component, 'serviceAnnotations', key), value),
  );
  if (!tls && !rest && annotations.length === 0) return undefined;

  const closed = at(milvus, 'spec', 'components', component, 'serviceType') === 'ClusterIP';
  return wanted(milvus, options, closed);
}

/**
 * What to apply after the cut-over so that the Operator closes Layer 4; undefined when its Service is of type ClusterIP.
 * The Operator writes the Service's type, so a change of the Service itself would not last.
 */
export function closeLayer4Patch(
  milvus: KubeObject,
  options: { serviceAnnotations: Readonly<Record<string, string>> },
): KubeObject | undefined {
  const type = text(at(milvus, 'spec', 'components', componentOf(milvus), 'serviceType'));
  return (type ?? 'ClusterIP') === 'ClusterIP' ? undefined : wanted(milvus, options, true);
}

/** Server-side apply takes away what an earlier apply of ours said and this one does not, so all is said every time. */
function wanted(
  milvus: KubeObject,
  options: { serviceAnnotations: Readonly<Record<string, string>> },
  closed: boolean,
): KubeObject {
  const { name, namespace } = milvus.metadata;
  const config = configOf(milvus);
  return {
    apiVersion: milvus.apiVersion,
    kind: milvus.kind,
    metadata: { name, ...(namespace === undefined ? {} : { namespace }) },
    spec: {
      config: {
        common: { security: { tlsMode: 1 } },
        ...(restSharesPort(config) || config.restPort === movedRestPort
          ? { proxy: { http: { port: movedRestPort } } }
          : {}),
      },
      components: {
        updateConfigMapOnly: false,
        [componentOf(milvus)]: {
          serviceAnnotations: { ...options.serviceAnnotations },
          ...(closed ? { serviceType: 'ClusterIP' } : {}),
        },
      },
    },
  };
}

function configOf(milvus: KubeObject): ReturnType<typeof resolveConfig> {
  const settings = new Map<string, string>();
  flatten(at(milvus, 'spec', 'config'), '', settings);
  return resolveConfig([{ source: 'spec.config', settings }]);
}

function componentOf(milvus: KubeObject): 'proxy' | 'standalone' {
  return at(milvus, 'spec', 'mode') === 'cluster' ? 'proxy' : 'standalone';
}

/** Annotations hold JSON; order and spaces do not count. */
function sameText(live: unknown, wanted: string): boolean {
  return (
    live === wanted ||
    (text(live) !== undefined &&
      json(live) !== undefined &&
      JSON.stringify(json(live)) === JSON.stringify(json(wanted)))
  );
}

function flatten(value: unknown, prefix: string, into: Map<string, string>): void {
  if (isRecord(value)) {
    for (const [key, entry] of Object.entries(value)) flatten(entry, prefix + configKey(key), into);
  } else if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
    if (value !== '') into.set(prefix, String(value));
  }
}
