{{- define "ase.name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "ase.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{ include "ase.selector" . }}
{{- end }}

{{- define "ase.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ase.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "ase.secret" -}}
{{ .Values.secret.existing | default (printf "%s-secret" (include "ase.name" .)) }}
{{- end }}

{{/* host:port of each hub, with commas: a pod of a StatefulSet has a name of its own. */}}
{{- define "ase.hubs" -}}
{{- $name := include "ase.name" . -}}
{{- $hubs := list -}}
{{- range $i := until (int .Values.hub.replicas) -}}
{{- $hubs = append $hubs (printf "%s-hub-%d.%s-hub:8220" $name $i $name) -}}
{{- end -}}
{{ join "," $hubs }}
{{- end }}

{{/* ase.yaml: what the chart needs, over what `config` says. */}}
{{- define "ase.config" -}}
{{- $gateway := dict "host" "0.0.0.0" "port" 8200 "admin_host" "0.0.0.0" "admin_port" 8290 "grpc" .Values.gateway.grpc "grpc_port" 8210 -}}
{{- if .Values.gateway.tls.secret -}}
{{- $_ := set $gateway "tls_cert" "/etc/ase/tls/tls.crt" -}}
{{- $_ := set $gateway "tls_key" "/etc/ase/tls/tls.key" -}}
{{- end -}}
{{- $lb := dict "hub" (include "ase.hubs" .) "host" "0.0.0.0" "port" 8220 "admin_host" "0.0.0.0" "admin_port" 8291 -}}
{{- $ours := dict "gateway" $gateway "lb" $lb -}}
{{- if .Values.gateway.keys.secret -}}
{{- $auth := .Values.config.auth -}}
{{- if kindIs "string" $auth -}}
{{- $auth = splitList "," (nospace $auth) -}}
{{- end -}}
{{- if kindIs "slice" $auth -}}
{{- $auth = dict "methods" $auth -}}
{{- end -}}
{{- $_ := set $ours "auth" (merge (dict "keys" "/etc/ase/keys/keys.sqlite") $auth) -}}
{{- end -}}
{{ mustMergeOverwrite (deepCopy .Values.config) $ours | toYaml }}
{{- end }}

{{- define "ase.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "ase.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "ase.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* The tokens, from the Secret. */}}
{{- define "ase.tokenEnv" -}}
- name: ASE_LB_TOKEN
  valueFrom: {secretKeyRef: {name: {{ include "ase.secret" . }}, key: lb-token}}
{{- end }}

{{- define "ase.adminTokenRef" -}}
valueFrom: {secretKeyRef: {name: {{ include "ase.secret" . }}, key: admin-token}}
{{- end }}

{{/* Pods of one component on different nodes, if there are enough. */}}
{{- define "ase.spread" -}}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector: {matchLabels: {{ toJson .labels }}}
{{- end }}
