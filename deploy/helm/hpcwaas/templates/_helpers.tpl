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

{{- define "hpcwaas.container" -}}
image: {{ printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  - {name: HWA_LISTEN_ADDRESS, value: "0.0.0.0:9090"}
  - {name: HWA_DATA_DIR, value: /data/hpcwaas}
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
volumeMounts:
  - {name: settings, mountPath: /etc/hpcwaas-api, readOnly: true}
  - {name: data, mountPath: /data}
  - {name: tmp, mountPath: /tmp}
  {{- if .Values.workflows }}
  - {name: workflows, mountPath: /srv/workflows, readOnly: true}
  {{- end }}
{{- end -}}

{{- define "hpcwaas.volumes" -}}
- name: settings
  configMap: {name: {{ include "hpcwaas.name" . }}}
- name: data
  {{- if .Values.persistence.enabled }}
  persistentVolumeClaim: {claimName: {{ default (include "hpcwaas.name" .) .Values.persistence.existingClaim }}}
  {{- else }}
  emptyDir: {}
  {{- end }}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: {{ .Values.tmpSize }}}
{{- with .Values.workflows }}
- name: workflows
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
