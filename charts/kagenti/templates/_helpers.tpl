{{- define "kagenti.labels" -}}
app.kubernetes.io/name: kagenti
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "kagenti.webhookLabels" -}}
app.kubernetes.io/name: kagenti
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: webhook
{{- end }}

{{- define "kagenti.clientConfig" -}}
service:
  name: kagenti-webhook
  namespace: {{ .root.Release.Namespace }}
  path: {{ .path }}
  port: 443
{{- with .root.Values.certificates.caBundle }}
caBundle: {{ b64enc . }}
{{- end }}
{{- end }}

{{- /* Namespaces that no entry ever covers: the cluster must start from nothing without us. */}}
{{- define "kagenti.excludedNamespaces" -}}
- key: kubernetes.io/metadata.name
  operator: NotIn
  values: [kube-system, kube-public, kube-node-lease, {{ .Release.Namespace }}]
- key: kagenti.io/break-glass
  operator: DoesNotExist
{{- end }}

{{- define "kagenti.crNamespaceSelector" -}}
{{- with .Values.webhook.namespaceSelector.matchLabels }}
matchLabels:
  {{- toYaml . | nindent 2 }}
{{- end }}
matchExpressions:
  {{- include "kagenti.excludedNamespaces" . | nindent 2 }}
  {{- with .Values.webhook.namespaceSelector.matchExpressions }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "kagenti.podRules" -}}
- apiGroups: [""]
  apiVersions: [v1]
  operations: [CREATE]
  resources: [pods]
  scope: Namespaced
{{- end }}

{{- define "kagenti.workloadRules" -}}
- apiGroups: [apps]
  apiVersions: [v1]
  operations: [CREATE, UPDATE]
  resources: [deployments, statefulsets, daemonsets]
  scope: Namespaced
- apiGroups: [batch]
  apiVersions: [v1]
  operations: [CREATE, UPDATE]
  resources: [cronjobs]
  scope: Namespaced
- apiGroups: [batch]
  apiVersions: [v1]
  operations: [CREATE]
  resources: [jobs]
  scope: Namespaced
{{- end }}

{{- /* CEL: the label in either place of the new or the old object. */}}
{{- define "kagenti.labelCondition" -}}
{{- $places := list -}}
{{- range $object := list "object" "oldObject" -}}
{{- $has := printf "(%s != null && has(%s.metadata.labels) && 'kagenti.io/inject' in %s.metadata.labels)" $object $object $object -}}
{{- $template := printf "(%s != null && has(%s.spec.template) && has(%s.spec.template.metadata) && has(%s.spec.template.metadata.labels) && 'kagenti.io/inject' in %s.spec.template.metadata.labels)" $object $object $object $object $object -}}
{{- $job := printf "(%s != null && has(%s.spec.jobTemplate) && has(%s.spec.jobTemplate.spec.template.metadata) && has(%s.spec.jobTemplate.spec.template.metadata.labels) && 'kagenti.io/inject' in %s.spec.jobTemplate.spec.template.metadata.labels)" $object $object $object $object $object -}}
{{- $places = concat $places (list $has $template $job) -}}
{{- end -}}
{{- join " || " $places -}}
{{- end }}
