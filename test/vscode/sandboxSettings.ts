/** The settings and environment with which a VS Code works on a sandbox, as its user would set them. */
import type { SandboxReady } from '../sandboxProcess.ts';

/** Settings of the extension: the sandbox' kubeconfig, tools and DNS server. */
export function settingsFor(ready: SandboxReady): Record<string, unknown> {
  return {
    'milvusLayer7.kubeconfig': [ready.kubeconfig],
    'milvusLayer7.path': [ready.bin],
    'milvusLayer7.dns.servers': [ready.dns],
  };
}
