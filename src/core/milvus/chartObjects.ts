/** Objects as the Milvus chart makes them (zilliztech/milvus-helm `templates/`), for tests. */
import type { KubeObject } from '../model.ts';

/** What differs between the releases of the tests. */
export interface ChartOptions {
  release?: string;
  /** Name of the Service, the ConfigMap and the prefix of the Deployments. */
  fullname?: string;
  namespace?: string;
  mode?: 'cluster' | 'standalone';
  image?: string;
  portName?: string;
  type?: 'ClusterIP' | 'LoadBalancer';
  address?: string;
  annotations?: Record<string, string>;
  env?: readonly unknown[];
  defaultYaml?: string;
  userYaml?: string;
  customConfigMap?: string;
}

/** Service, server Deployment, another Deployment of the release, and ConfigMap. */
export function chartObjects(options: ChartOptions = {}): KubeObject[] {
  const {
    release = 'my-release',
    fullname = `${release}-milvus`,
    namespace = 'default',
    mode = 'cluster',
    image = 'milvusdb/milvus:v2.4.6',
    type = 'LoadBalancer',
    customConfigMap,
  } = options;
  const component = mode === 'cluster' ? 'proxy' : 'standalone';
  const match = { 'app.kubernetes.io/name': 'milvus', 'app.kubernetes.io/instance': release };
  const labels = { ...match, 'helm.sh/chart': 'milvus-4.2.0', 'app.kubernetes.io/managed-by': 'Helm' };
  const deployment = (name: string): KubeObject => ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: `${fullname}-${name}`, namespace, labels: { ...labels, component: name } },
    spec: {
      replicas: 2,
      selector: { matchLabels: { ...match, component: name } },
      template: {
        metadata: { labels: { ...match, component: name } },
        spec: {
          containers: [
            {
              name,
              image,
              args: ['milvus', 'run', name],
              ...(name === component && options.env ? { env: options.env } : {}),
              volumeMounts:
                customConfigMap === undefined
                  ? ['default.yaml', 'user.yaml'].map((file) => ({
                      name: 'milvus-config',
                      mountPath: `/milvus/configs/${file}`,
                      subPath: file,
                      readOnly: true,
                    }))
                  : [{ name: 'milvus-config', mountPath: '/milvus/configs/user.yaml', subPath: 'milvus.yaml' }],
            },
          ],
          volumes: [{ name: 'milvus-config', configMap: { name: customConfigMap ?? fullname } }],
        },
      },
    },
  });
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: {
        name: fullname,
        namespace,
        labels: { ...labels, component },
        ...(options.annotations ? { annotations: options.annotations } : {}),
      },
      spec: {
        type,
        selector: { ...match, component },
        ports: [
          { name: options.portName ?? 'milvus', port: 19530, targetPort: 'milvus', protocol: 'TCP' },
          { name: 'metrics', port: 9091, targetPort: 'metrics', protocol: 'TCP' },
        ],
      },
      status: options.address === undefined ? {} : { loadBalancer: { ingress: [{ ip: options.address }] } },
    },
    deployment(component),
    deployment(mode === 'cluster' ? 'mixcoord' : 'etcd-less'),
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: fullname, namespace, labels },
      data: { 'default.yaml': options.defaultYaml ?? '', 'user.yaml': options.userYaml ?? '' },
    },
  ];
}
