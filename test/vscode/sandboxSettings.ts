/** The settings and environment with which a VS Code works on a sandbox, as its user would set them. */
import type { SandboxReady } from '../sandboxProcess.ts';

/** Settings of the extension: the sandbox' tools and DNS server. */
export function settingsFor(ready: SandboxReady): Record<string, unknown> {
  return { 'milvusLayer7.path': [ready.bin], 'milvusLayer7.dns.servers': [ready.dns] };
}

/**
 * Environment of VS Code: the kubeconfig, the Helm repositories, and the authority that this sandbox' world trusts.
 * The tools are found by the settings, not by PATH.
 */
export function environmentFor(ready: SandboxReady): NodeJS.ProcessEnv {
  return { ...ready.env, KUBECONFIG: ready.kubeconfig, NODE_EXTRA_CA_CERTS: ready.publicCA };
}
