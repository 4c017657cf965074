{{- define "hpcwaas.name" -}}
{{- if .Values.fullnameOverride -}}{{ .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (default .Chart.Name .Values.nameOverride) .Release.Name -}}{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}{{ printf "%s-%s" .Release.Name (default .Chart.Name .Values.nameOverride) | trunc 52 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "hpcwaas.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "hpcwaas.labels" -}}
{{ include "hpcwaas.selector" . }}
app.kubernetes.io/version: {{ default .Chart.AppVersion .Values.image.tag | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "hpcwaas.account" -}}
{{ if .Values.serviceAccount.create }}{{ default (include "hpcwaas.name" .) .Values.serviceAccount.name }}{{ else }}{{ default "default" .Values.serviceAccount.name }}{{ end }}
{{- end -}}

{{- define "hpcwaas.file" -}}
{{- $settings := deepCopy .Values.settings -}}
{{- if .Values.trustedProxies -}}
{{- $server := default dict (get $settings "server") -}}
{{- $_ := set $server "trusted_proxies" .Values.trustedProxies -}}
{{- $_ := set $settings "server" $server -}}
{{- end -}}
{{ toYaml $settings }}
{{- end -}}

{{- /* Where a Pod has no other one beside it, nobody gains by its serving for longer. */ -}}
{{- define "hpcwaas.drain" -}}
{{ if or (gt (int .Values.replicas) 1) (not .Values.persistence.enabled) }}{{ .Values.drainSeconds }}{{ else }}0{{ end }}
{{- end -}}

{{- define "hpcwaas.claim" -}}
accessModes: {{- toYaml .accessModes | nindent 2 }}
{{- with .storageClass }}
storageClassName: {{ . | quote }}
{{- end }}
resources:
  requests: {storage: {{ .size | quote }}}
{{- end -}}

{{- define "hpcwaas.container" -}}
image: {{ printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  - {name: HWA_LISTEN_ADDRESS, value: "0.0.0.0:9090"}
  - {name: HWA_DATA_DIR, value: /data/hpcwaas}
  - {name: HWA_SERVER_DRAIN, value: {{ include "hpcwaas.drain" . | quote }}}
  {{- if .Values.shared.enabled }}
  - {name: HWA_SHARED_DIR, value: /shared/hpcwaas}
  - name: HWA_MACHINE
    valueFrom: {fieldRef: {fieldPath: metadata.name}}
  {{- end }}
  {{- with .Values.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.existingSecrets }}
envFrom:
  {{- range . }}
  - secretRef: {name: {{ . | quote }}}
  {{- end }}
{{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources: {{- toYaml .Values.resources | nindent 2 }}
volumeMounts:
  - {name: settings, mountPath: /etc/hpcwaas-api, readOnly: true}
  - {name: data, mountPath: /data}
  {{- if .Values.shared.enabled }}
  - {name: shared, mountPath: /shared}
  {{- end }}
  - {name: tmp, mountPath: /tmp}
  {{- if .Values.workflows }}
  - {name: workflows, mountPath: /srv/workflows, readOnly: true}
  {{- end }}
{{- end -}}

{{- define "hpcwaas.volumes" -}}
- name: settings
  configMap: {name: {{ include "hpcwaas.name" . }}}
{{- if not .Values.persistence.enabled }}
- name: data
  emptyDir: {}
{{- else if not .Values.shared.enabled }}
- name: data
  persistentVolumeClaim: {claimName: {{ default (include "hpcwaas.name" .) .Values.persistence.existingClaim }}}
{{- end }}
{{- if .Values.shared.enabled }}
- name: shared
  persistentVolumeClaim: {claimName: {{ default (printf "%s-shared" (include "hpcwaas.name" .)) .Values.shared.existingClaim }}}
{{- end }}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: {{ .Values.tmpSize }}}
{{- with .Values.workflows }}
- name: workflows
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
