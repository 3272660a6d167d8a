{{- define "sekifuda.name" -}}
{{- .Values.fullnameOverride | default (ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name)) | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "sekifuda.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "sekifuda.name" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{- define "sekifuda.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* What selects pods never changes; component is controlplane or dataplane. */ -}}
{{- define "sekifuda.selector" -}}
app.kubernetes.io/name: sekifuda
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .group }}
sekifuda/group: {{ . }}
{{- end }}
{{- end }}

{{- define "sekifuda.labels" -}}
{{ include "sekifuda.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "sekifuda.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "sekifuda.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* Ready is what the process says; alive is that it takes connections: a node without a control
plane serves on and must not be killed for it. */ -}}
{{- define "sekifuda.probes" -}}
startupProbe:
  tcpSocket: {port: status}
  periodSeconds: 2
  failureThreshold: 150
readinessProbe:
  httpGet: {path: /status/ready, port: status}
  periodSeconds: 5
  timeoutSeconds: 3
livenessProbe:
  tcpSocket: {port: status}
  periodSeconds: 10
  failureThreshold: 6
{{- end }}

{{- define "sekifuda.spread" -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels: {{- include "sekifuda.selector" . | nindent 12 }}
{{- end }}

{{- define "sekifuda.env" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
