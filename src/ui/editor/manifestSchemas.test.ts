import { describe, expect, it, vi } from 'vitest';
import { dispatcherUri, ManifestSchemas, schemaFor } from './manifestSchemas.ts';

const ours = {
  BackendConfig: 'apiVersion: cloud.google.com/v1\nkind: BackendConfig\n',
  'BackendConfig without version': 'kind: BackendConfig\n',
  'ManagedCertificate in quotes': 'apiVersion: "networking.gke.io/v1"\nkind: "ManagedCertificate" # Google\n',
  'FrontendConfig with CRLF': 'apiVersion: networking.gke.io/v1beta1\r\nkind: FrontendConfig\r\n',
  'Ingress without class': 'apiVersion: networking.k8s.io/v1\nkind: Ingress\n',
  'Ingress of class gce':
    'apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  annotations:\n    kubernetes.io/ingress.class: "gce"\n',
  'Ingress with the field that GKE ignores':
    'apiVersion: networking.k8s.io/v1\nkind: Ingress\nspec:\n  ingressClassName: gce\n',
  'Service with an annotation':
    'apiVersion: v1\nkind: Service\nmetadata:\n  annotations:\n    cloud.google.com/neg: \'{"ingress": true}\'\n',
  'second of two documents': 'kind: Deployment\n---\napiVersion: cloud.google.com/v1\nkind: BackendConfig\n',
  'while the YAML is invalid': 'apiVersion: cloud.google.com/v1\nkind: BackendConfig\nspec: {"\n',
};

const others = {
  empty: '',
  'Compose file': 'services:\n  web:\n    image: nginx\n',
  Deployment: 'apiVersion: apps/v1\nkind: Deployment\n',
  'Service of others': 'apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n',
  'Knative Service': 'apiVersion: serving.knative.dev/v1\nkind: Service\n# cloud.google.com/x\n',
  'Ingress of nginx': 'apiVersion: networking.k8s.io/v1\nkind: Ingress\nspec:\n  ingressClassName: nginx\n',
  'Ingress of nginx by annotation':
    'apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  annotations:\n    kubernetes.io/ingress.class: nginx\n',
  'same kind of another group': 'apiVersion: example.com/v1\nkind: BackendConfig\n',
  'nested kind': 'spec:\n  kind: BackendConfig\n',
  'Helm template': 'apiVersion: cloud.google.com/v1\nkind: BackendConfig\nmetadata:\n  name: {{ .Release.Name }}\n',
  'Kustomize patch': '$patch: delete\napiVersion: cloud.google.com/v1\nkind: BackendConfig\n',
  'annotation in one document and Service in another': 'apiVersion: v1\nkind: Service\n---\na: cloud.google.com/neg\n',
};

describe('schemaFor', () => {
  it.each(Object.entries(ours))('%s is ours', (_, text) => {
    expect(schemaFor(text)).toBe(dispatcherUri);
  });

  it.each(Object.entries(others))('%s is left alone', (_, text) => {
    expect(schemaFor(text)).toBeUndefined();
  });

  it('ends quickly on 10 MB', () => {
    const start = performance.now();
    schemaFor(`${'kind: \n---\n'.repeat(1_000_000)}apiVersion: cloud.google.com/v1\nkind: BackendConfig\n`);
    expect(performance.now() - start).toBeLessThan(1_000);
  });
});

describe('ManifestSchemas', () => {
  it('reads each file once', async () => {
    const read = vi.fn((file: string) => Promise.resolve(file));
    const schemas = new ManifestSchemas(read);
    expect(read).not.toHaveBeenCalled();
    expect(await schemas.content(dispatcherUri)).toBe('milvus-layer7.json');
    await schemas.content(dispatcherUri);
    expect(read).toHaveBeenCalledOnce();
  });

  it('reads again after a failure', async () => {
    const read = vi.fn().mockRejectedValueOnce(new Error('gone')).mockResolvedValueOnce('{}');
    const schemas = new ManifestSchemas(read);
    await expect(schemas.content(dispatcherUri)).rejects.toThrow('gone');
    expect(await schemas.content(dispatcherUri)).toBe('{}');
  });

  it.each(['milvus-layer7://schemas/../package.json', 'file:///etc/passwd', 'milvus-layer7://other/a.json'])(
    'refuses %s',
    async (uri) => {
      const read = vi.fn(() => Promise.resolve(''));
      await expect(new ManifestSchemas(read).content(uri)).rejects.toThrow('No schema');
      expect(read).not.toHaveBeenCalled();
    },
  );
});
