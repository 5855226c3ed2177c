{{/*
A Deployment of one Milvus component.
Takes: root, component, values, front (serves clients), port (of its own, 0 for none), args (default: the
component's name), strategy.
*/}}
{{- define "milvus.deployment" -}}
{{- $v := .values -}}
{{- with .root -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "milvus.fullname" . }}-{{ $.component }}
  namespace: {{ .Release.Namespace }}
  labels:
{{ include "milvus.labels" . | indent 4 }}
    component: {{ $.component | quote }}
{{- with .Values.labels }}
{{ toYaml . | indent 4 }}
{{- end }}
{{- with .Values.annotations }}
  annotations:
{{ toYaml . | indent 4 }}
{{- end }}
spec:
  replicas: {{ $v.replicas }}
{{- with $.strategy }}
  strategy:
{{ toYaml . | indent 4 }}
{{- end }}
  selector:
    matchLabels:
{{ include "milvus.matchLabels" . | indent 6 }}
      component: {{ $.component | quote }}
  template:
    metadata:
      labels:
{{ include "milvus.matchLabels" . | indent 8 }}
        component: {{ $.component | quote }}
{{- with .Values.labels }}
{{ toYaml . | indent 8 }}
{{- end }}
      annotations:
        checksum/config: {{ include (print $.root.Template.BasePath "/configmap.yaml") . | sha256sum }}
{{- with $v.annotations }}
{{ toYaml . | indent 8 }}
{{- end }}
{{- with .Values.annotations }}
{{ toYaml . | indent 8 }}
{{- end }}
    spec:
      serviceAccountName: default
      containers:
        - name: {{ $.component }}
          image: "{{ .Values.image.all.repository }}:{{ .Values.image.all.tag }}"
          imagePullPolicy: {{ .Values.image.all.pullPolicy }}
          args: {{ concat (list "milvus" "run") ($.args | default (list $.component)) | toJson }}
{{- with $v.extraEnv }}
          env:
{{ toYaml . | indent 12 }}
{{- end }}
          ports:
{{- if $.front }}
            - name: milvus
              containerPort: 19530
              protocol: TCP
{{- end }}
{{- with $.port }}
            - name: {{ $.component }}
              containerPort: {{ . }}
              protocol: TCP
{{- end }}
            - name: metrics
              containerPort: 9091
              protocol: TCP
{{- with .Values.livenessProbe }}
{{- if .enabled }}
          livenessProbe:
{{- if semverCompare ">=4.2.38-0" $.root.Chart.Version }}
            tcpSocket:
              port: metrics
{{- else }}
            httpGet:
              path: /healthz
              port: metrics
{{- end }}
{{ omit . "enabled" | toYaml | indent 12 }}
{{- end }}
{{- end }}
{{- with .Values.readinessProbe }}
{{- if .enabled }}
          readinessProbe:
            httpGet:
              path: /healthz
              port: metrics
{{ omit . "enabled" | toYaml | indent 12 }}
{{- end }}
{{- end }}
          resources:
{{ toYaml $v.resources | indent 12 }}
          volumeMounts:
{{- if .Values.customConfigMap }}
            - name: milvus-config
              mountPath: /milvus/configs/user.yaml
              subPath: milvus.yaml
              readOnly: true
{{- else }}
            - name: milvus-config
              mountPath: /milvus/configs/default.yaml
              subPath: default.yaml
              readOnly: true
            - name: milvus-config
              mountPath: /milvus/configs/user.yaml
              subPath: user.yaml
              readOnly: true
{{- end }}
            - name: tools
              mountPath: /milvus/tools
{{- if eq $.component "standalone" }}
            - name: milvus-data-disk
              mountPath: /var/lib/milvus
{{- end }}
{{- with $v.volumeMounts }}
{{ toYaml . | indent 12 }}
{{- end }}
{{- if semverCompare ">=4.2.31-0" .Chart.Version }}
{{- with .Values.volumeMounts }}
{{ toYaml . | indent 12 }}
{{- end }}
{{- end }}
{{- with $v.nodeSelector | default .Values.nodeSelector }}
      nodeSelector:
{{ toYaml . | indent 8 }}
{{- end }}
{{- with $v.affinity | default .Values.affinity }}
      affinity:
{{ toYaml . | indent 8 }}
{{- end }}
{{- with $v.tolerations | default .Values.tolerations }}
      tolerations:
{{ toYaml . | indent 8 }}
{{- end }}
      volumes:
        - name: milvus-config
          configMap:
            name: {{ .Values.customConfigMap | default (include "milvus.fullname" .) }}
        - name: tools
          emptyDir: {}
{{- if eq $.component "standalone" }}
        - name: milvus-data-disk
          emptyDir: {}
{{- end }}
{{- with $v.volumes }}
{{ toYaml . | indent 8 }}
{{- end }}
{{- if semverCompare ">=4.2.31-0" .Chart.Version }}
{{- with .Values.volumes }}
{{ toYaml . | indent 8 }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
