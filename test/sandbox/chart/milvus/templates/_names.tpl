{{- define "milvus.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The release name alone when it contains the chart's: "helm install milvus-demo" gives Service milvus-demo. */}}
{{- define "milvus.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "milvus.matchLabels" -}}
app.kubernetes.io/name: {{ include "milvus.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "milvus.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "milvus.matchLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* The component that serves clients. */}}
{{- define "milvus.front" -}}
{{- ternary "proxy" "standalone" .Values.cluster.enabled -}}
{{- end -}}

{{- define "milvus.minio.fullname" -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name .Values.minio.name) (contains .Values.minio.name .Release.Name) -}}
{{- end -}}

{{- define "milvus.etcd.fullname" -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name .Values.etcd.name) (contains .Values.etcd.name .Release.Name) -}}
{{- end -}}
