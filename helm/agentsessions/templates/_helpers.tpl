{{/* Labels of every object. */}}
{{- define "agentsessions.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: {{ .Chart.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Labels by which a part's pods are found. Takes (list $ "operator"). */}}
{{- define "agentsessions.selector" -}}
app.kubernetes.io/name: {{ (index . 0).Chart.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "agentsessions.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* What the pods of operator and gateway have in common. */}}
{{- define "agentsessions.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
# A big journal is not walked through at every start.
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "agentsessions.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "agentsessions.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: health}
  periodSeconds: 2
  failureThreshold: 90
livenessProbe:
  httpGet: {path: /healthz, port: health}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /readyz, port: health}
  periodSeconds: 3
  timeoutSeconds: 5
{{- end }}

{{- define "agentsessions.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* How many gateways there are: a SQLite file has room for one. */}}
{{- define "agentsessions.gatewayReplicas" -}}
{{- with .Values.gateway }}
{{- if and (gt (int .replicas) 1) (not .journal.urlSecretRef.name) }}
{{- fail (printf "gateway.replicas is %d, but the journal is a SQLite file, which only one gateway can open: set gateway.journal.urlSecretRef to a Secret with the URL of a PostgreSQL database, or gateway.replicas to 1" (int .replicas)) }}
{{- end }}
{{- .replicas }}
{{- end }}
{{- end }}

{{/* Key of the Secret with the CA of the journal's database; empty without one. */}}
{{- define "agentsessions.databaseCa" -}}
{{- with .Values.gateway.journal }}
{{- if and .caSecretRef.name (not .urlSecretRef.name) }}
{{- fail "gateway.journal.caSecretRef names the CA of a database, but the journal is a SQLite file: set gateway.journal.urlSecretRef to a Secret with the URL of a PostgreSQL database, too" }}
{{- end }}
{{- if .caSecretRef.name }}
{{- .caSecretRef.key }}
{{- end }}
{{- end }}
{{- end }}
