import type { Intent, MilvusRelease } from '../model.ts';

/** One right as the API server's access review takes it. */
export interface Access {
  verb: string;
  group: string;
  resource: string;
  namespace: string;
}

/** The rights a setup with this intent needs in the release's namespace. */
export function permissions(release: MilvusRelease, intent: Intent): Access[] {
  const { namespace } = release;
  const write = (group: string, resource: string): Access[] =>
    ['create', 'patch'].map((verb) => ({ verb, group, resource, namespace }));
  return [
    ...write('cloud.google.com', 'backendconfigs'),
    ...write('networking.k8s.io', 'ingresses'),
    { verb: 'patch', group: '', resource: 'services', namespace },
    ...(intent.certificate.kind === 'managed' ? write('networking.gke.io', 'managedcertificates') : []),
    ...(intent.certificate.kind === 'generate' ? write('', 'secrets') : []),
    ...(intent.certificate.kind === 'secret' ? [{ verb: 'get', group: '', resource: 'secrets', namespace }] : []),
    ...(intent.sslPolicy === undefined ? [] : write('networking.gke.io', 'frontendconfigs')),
    ...(release.installer === 'helm' ? helmRights(namespace) : []),
    ...(release.installer === 'operator'
      ? [{ verb: 'patch', group: 'milvus.io', resource: 'milvuses', namespace }]
      : []),
  ];
}

/** Helm keeps its record in Secrets, and patches what the chart renders (helm/helm pkg/storage/driver/secrets.go). */
function helmRights(namespace: string): Access[] {
  return [
    { verb: 'list', group: '', resource: 'secrets', namespace },
    { verb: 'create', group: '', resource: 'secrets', namespace },
    { verb: 'patch', group: 'apps', resource: 'deployments', namespace },
    { verb: 'patch', group: '', resource: 'configmaps', namespace },
  ];
}
