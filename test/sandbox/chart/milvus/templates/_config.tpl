{{/* default.yaml: what the chart itself configures. */}}
{{- define "milvus.config" -}}
etcd:
  endpoints:
{{- if .Values.externalEtcd.enabled }}
{{ toYaml .Values.externalEtcd.endpoints | indent 4 }}
{{- else }}
{{- $etcd := include "milvus.etcd.fullname" . }}
{{- range $i := until (int .Values.etcd.replicaCount) }}
    - {{ $etcd }}-{{ $i }}.{{ $etcd }}-headless.{{ $.Release.Namespace }}.svc.{{ $.Values.etcd.clusterDomain }}:{{ $.Values.etcd.service.port }}
{{- end }}
{{- end }}

metastore:
  type: etcd

minio:
{{- if .Values.externalS3.enabled }}
{{- with .Values.externalS3 }}
  address: {{ .host }}
  port: {{ .port }}
  accessKeyID: {{ .accessKey }}
  secretAccessKey: {{ .secretKey }}
  useSSL: {{ .useSSL }}
  bucketName: {{ .bucketName }}
  rootPath: {{ .rootPath }}
  useIAM: {{ .useIAM }}
  cloudProvider: {{ .cloudProvider }}
  iamEndpoint: {{ .iamEndpoint }}
  region: {{ .region }}
  useVirtualHost: {{ .useVirtualHost }}
{{- end }}
{{- else }}
{{- with .Values.minio }}
  address: {{ include "milvus.minio.fullname" $ }}
  port: {{ .service.port }}
  accessKeyID: {{ .accessKey }}
  secretAccessKey: {{ .secretKey }}
  useSSL: {{ .tls.enabled }}
  bucketName: {{ .bucketName }}
  rootPath: {{ .rootPath }}
  useIAM: {{ .useIAM }}
  useVirtualHost: {{ .useVirtualHost }}
{{- end }}
{{- end }}

{{- $queue := "" }}
{{- if not .Values.cluster.enabled }}
{{- $queue = .Values.standalone.messageQueue }}
{{- else if .Values.kafka.enabled }}
{{- $queue = "kafka" }}
{{- else if or .Values.pulsar.enabled .Values.pulsarv3.enabled }}
{{- $queue = "pulsar" }}
{{- end }}
{{- with $queue }}

mq:
  type: {{ . }}

messageQueue: {{ . }}
{{- end }}

{{- $full := include "milvus.fullname" . }}
{{- $cluster := .Values.cluster.enabled }}

rootCoord:
  address: {{ ternary (printf "%s-rootcoord" $full) "localhost" $cluster }}
  port: {{ .Values.rootCoordinator.service.port }}
  enableActiveStandby: {{ .Values.rootCoordinator.activeStandby.enabled }}

proxy:
  port: 19530
  internalPort: 19529

queryCoord:
  address: {{ ternary (printf "%s-querycoord" $full) "localhost" $cluster }}
  port: {{ .Values.queryCoordinator.service.port }}
  enableActiveStandby: {{ .Values.queryCoordinator.activeStandby.enabled }}

queryNode:
  port: 21123

indexCoord:
  address: {{ ternary (printf "%s-indexcoord" $full) "localhost" $cluster }}
  port: {{ .Values.indexCoordinator.service.port }}
  enableActiveStandby: {{ .Values.indexCoordinator.activeStandby.enabled }}

indexNode:
  port: 21121

dataCoord:
  address: {{ ternary (printf "%s-datacoord" $full) "localhost" $cluster }}
  port: {{ .Values.dataCoordinator.service.port }}
  enableActiveStandby: {{ .Values.dataCoordinator.activeStandby.enabled }}

dataNode:
  port: 21124

log:
  level: {{ .Values.log.level }}
  format: {{ .Values.log.format }}
{{- end }}
