/**
 * The parts of `@kubernetes/client-node` that run here, in a file of their own that is loaded with the first connection.
 * Deep imports leave out the typed APIs, the informer and the watch, which the product does not use.
 */
export { KubeConfig } from '@kubernetes/client-node/dist/config.js';
export { PortForward } from '@kubernetes/client-node/dist/portforward.js';
export { HttpProxyAgent, HttpsProxyAgent } from 'hpagent';
export { SocksProxyAgent } from 'socks-proxy-agent';
