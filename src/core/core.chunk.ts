/**
 * What the widgets need of the core, in one file that is loaded on first use: see esbuild.mjs.
 */
export { formatDuration } from './duration.ts';
export { createGcloud, projectOfContext } from './gke/gcloud.ts';
export { names } from './gke/objects.ts';
export { certificatesOf, ingressAddress, ingressesOf, readManagedCertificate } from './gke/read.ts';
export { connect } from './kube/connect.ts';
export { explainKubeError, isKubeError, reasonOf } from './kube/errors.ts';
export { defaultKubeconfigPaths, loadKubeconfig } from './kube/kubeconfig.ts';
export { watchNamespace } from './kube/liveObjects.ts';
export { createObjectSet } from './kube/objectSet.ts';
export { objectYaml, stepDiff } from './loadbalancer/diff.ts';
export { headline } from './loadbalancer/headline.ts';
export { readIntent, readProof } from './loadbalancer/intent.ts';
export { wantedObjects } from './loadbalancer/plan.ts';
export { findRelease, gatherFacts, planSetup, runSetup } from './loadbalancer/setup.ts';
export { ingressHost, status } from './loadbalancer/status.ts';
export { createHelm } from './milvus/helm.ts';
export { findReleases } from './milvus/releases.ts';
export { createDns } from './probe/dns.ts';
export { createProber } from './probe/probe.ts';
export { loadMilvusSdk } from './probe/milvusClient.ts';
export { connectSnippets } from './probe/snippets.ts';
export { createRunner } from './process.ts';
export { makeCertificate } from './tls/certificate.ts';
export { checkHostName } from './tls/hostName.ts';
