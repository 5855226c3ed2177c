/**
 * X.509 encoding by node-forge, loaded only when a certificate is made. Signing and keys stay with `node:crypto`.
 */
import forge from 'node-forge';

export const { asn1, pki, util } = forge;
