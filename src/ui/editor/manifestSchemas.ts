/** Which YAML texts our JSON schemas are for, and the schemas themselves. Knows neither VS Code nor any language server. */

/** Scheme of the URIs of our schemas; also the name under which they are registered. */
export const schemaScheme = 'milvus-layer7';

/** The schema that chooses by apiVersion and kind. It refers to the others by file name. */
export const dispatcherUri = `${schemaScheme}://schemas/milvus-layer7.json`;

/** Text beyond this is not searched, in UTF-16 code units: no manifest by hand is that long. */
const longestSearched = 1_000_000;

const googleKind = /^kind:[ \t]*["']?(?:BackendConfig|ManagedCertificate|FrontendConfig)["']?[ \t]*(?:#.*)?\r?$/m;
const googleGroup = /^apiVersion:[ \t]*["']?(?:cloud\.google\.com|networking\.gke\.io)\b/m;
const apiVersionLine = /^apiVersion:/m;
const ingressKind = /^kind:[ \t]*["']?Ingress["']?[ \t]*(?:#.*)?\r?$/m;
const ingressGroup = /^apiVersion:[ \t]*["']?(?:networking\.k8s\.io|extensions)\//m;
const ingressClass =
  /^[ \t]+["']?(?:kubernetes\.io\/ingress\.class["']?|ingressClassName)[ \t]*:[ \t]*["']?([^\s"'#]*)/gm;
const serviceKind = /^kind:[ \t]*["']?Service["']?[ \t]*(?:#.*)?\r?$/m;
const serviceVersion = /^apiVersion:[ \t]*["']?v1["']?[ \t]*(?:#.*)?\r?$/m;
const googleAnnotation = /\bcloud\.google\.com\/|\bservice\.alpha\.kubernetes\.io\/app-protocols\b/;

/** Whether one document is of a kind that we describe. An Ingress of another controller is not ours. */
function isOurs(document: string): boolean {
  if (googleKind.test(document)) return googleGroup.test(document) || !apiVersionLine.test(document);
  if (ingressKind.test(document) && ingressGroup.test(document))
    return [...document.matchAll(ingressClass)].every(([, name = '']) => name === '' || name.startsWith('gce'));
  return serviceKind.test(document) && serviceVersion.test(document) && googleAnnotation.test(document);
}

/**
 * URI of the schema for a YAML text; undefined when none of its documents is of our kinds, so that whatever else
 * describes the file stays in force. Also undefined for templates (`{{ }}`), which are no YAML yet, and for patches
 * (`$patch`), which are no whole object. Searches the text only, so it costs little and holds while the YAML is invalid.
 */
export function schemaFor(text: string): string | undefined {
  const searched = text.length > longestSearched ? text.slice(0, longestSearched) : text;
  if (searched.includes('{{') || /^\s*(?:-\s+)?\$patch:/m.test(searched)) return undefined;
  return searched.split(/^---(?=\s|$)/m).some(isOurs) ? dispatcherUri : undefined;
}

/** Contents of the schemas by URI, each file read at most once. */
export class ManifestSchemas {
  readonly #read: (file: string) => Promise<string>;
  readonly #contents = new Map<string, Promise<string>>();

  /** @param read reads a file of the folder `schemas`. */
  constructor(read: (file: string) => Promise<string>) {
    this.#read = read;
  }

  /** Text of the schema; rejects for a URI that is none of ours, and when the file cannot be read. */
  content(uri: string): Promise<string> {
    const file = /^milvus-layer7:\/\/schemas\/([a-z0-9.-]+\.json)(?:#.*)?$/.exec(uri)?.[1];
    if (file === undefined) return Promise.reject(new Error(`No schema of ${schemaScheme}: ${uri}`));
    const known = this.#contents.get(file);
    if (known) return known;
    const content = this.#read(file);
    this.#contents.set(file, content);
    // A failed read may succeed the next time.
    content.catch(() => this.#contents.delete(file));
    return content;
  }
}
