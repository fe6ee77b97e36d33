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

{{- define "kagenti.xdsLabels" -}}
app.kubernetes.io/name: kagenti
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: xds
{{- end }}

{{- define "kagenti.operatorLabels" -}}
app.kubernetes.io/name: kagenti
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "kagenti.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- /* What the schema cannot say: values that contradict each other, or that this version cannot honour. */}}
{{- define "kagenti.check" -}}
{{- if and (eq .Values.certificates.mode "provided") (not .Values.certificates.caBundle) }}
{{- fail "certificates.mode is \"provided\" and certificates.caBundle is empty: set it to the PEM of the CA that signed tls.crt" }}
{{- end }}
{{- if and (eq .Values.certificates.mode "certManager") .Values.certificates.caBundle }}
{{- fail "certificates.mode is \"certManager\" and certificates.caBundle is set: cert-manager writes the caBundle; remove it, or use provided" }}
{{- end }}
{{- if and (eq .Values.certificates.mode "selfManaged") .Values.certificates.caBundle }}
{{- fail "certificates.mode is \"selfManaged\" and certificates.caBundle is set: the operator writes the caBundle; remove it, or use provided" }}
{{- end }}
{{- if and (eq .Values.certificates.mode "selfManaged") .Values.certificates.issuerRef.name }}
{{- fail "certificates.mode is \"selfManaged\" and certificates.issuerRef is set: the operator is its own issuer; remove it, or use certManager" }}
{{- end }}
{{- range list .Values.certificates.secretName .Values.certificates.xdsSecretName }}
{{- if and (ne $.Values.certificates.mode "provided") (has . (list "kagenti-webhook-ca" "kagenti-xds-ca")) }}
{{- fail (printf "certificates: Secret %q holds a CA and its key, which no pod may mount; give the certificate another" .) }}
{{- end }}
{{- end }}
{{- if eq .Values.certificates.secretName .Values.certificates.xdsSecretName }}
{{- fail "certificates.secretName and certificates.xdsSecretName are one Secret: the xDS server has a CA of its own, which pods carry for their life; name two" }}
{{- end }}
{{- range (.Values.webhook.namespaceSelector | default dict).matchExpressions }}
{{- if and (has .operator (list "In" "NotIn")) (not .values) }}
{{- fail (printf "webhook.namespaceSelector: operator %s of key %q needs values" .operator .key) }}
{{- end }}
{{- if and (has .operator (list "Exists" "DoesNotExist")) .values }}
{{- fail (printf "webhook.namespaceSelector: operator %s of key %q takes no values" .operator .key) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "kagenti.webhookAnnotations" -}}
{{- if eq .Values.certificates.mode "certManager" }}
annotations:
  cert-manager.io/inject-ca-from: {{ .Release.Namespace }}/kagenti-webhook
{{- end }}
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
{{- $selector := .Values.webhook.namespaceSelector | default dict }}
{{- with $selector.matchLabels }}
matchLabels:
  {{- toYaml . | nindent 2 }}
{{- end }}
matchExpressions:
  {{- include "kagenti.excludedNamespaces" . | nindent 2 }}
  {{- with $selector.matchExpressions }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- /* The same selector in kubectl's syntax, so that the process can say which namespaces are enrolled. */}}
{{- define "kagenti.selectorText" -}}
{{- $selector := .Values.webhook.namespaceSelector | default dict }}
{{- $parts := list }}
{{- range $key, $value := $selector.matchLabels }}
{{- $parts = append $parts (printf "%s=%s" $key $value) }}
{{- end }}
{{- range $selector.matchExpressions }}
{{- $text := .key }}
{{- if eq .operator "DoesNotExist" }}{{ $text = printf "!%s" .key }}{{ end }}
{{- if has .operator (list "In" "NotIn") }}{{ $text = printf "%s %s (%s)" .key (lower .operator) (join "," .values) }}{{ end }}
{{- $parts = append $parts $text }}
{{- end }}
{{- join "," $parts }}
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

{{- /* CEL: the label on the workload or on its template, in the new or the old object. */}}
{{- define "kagenti.labelCondition" -}}
{{- $places := list -}}
{{- range $object := list "object" "oldObject" -}}
{{- range $path := list "" ".spec.template" ".spec.jobTemplate.spec.template" -}}
{{- $at := printf "%s%s" $object $path -}}
{{- $there := "" -}}
{{- if eq $path ".spec.template" }}{{ $there = printf "has(%s.spec.template) && " $object }}{{ end -}}
{{- if hasPrefix ".spec.jobTemplate" $path }}{{ $there = printf "has(%s.spec.jobTemplate) && " $object }}{{ end -}}
{{- $places = append $places (printf "(%s != null && %shas(%s.metadata) && has(%s.metadata.labels) && 'kagenti.io/inject' in %s.metadata.labels)" $object $there $at $at $at) -}}
{{- end -}}
{{- end -}}
{{- join " || " $places -}}
{{- end }}

{{- /* The namespaces of the cr entry as CEL over variables.namespaceLabels. */}}
{{- define "kagenti.selectorCondition" -}}
{{- $selector := .Values.webhook.namespaceSelector | default dict }}
{{- $parts := list "true" }}
{{- range $key, $value := $selector.matchLabels }}
{{- $parts = append $parts (printf "('%s' in variables.namespaceLabels && variables.namespaceLabels['%s'] == '%s')" $key $key $value) }}
{{- end }}
{{- range $selector.matchExpressions }}
{{- $there := printf "'%s' in variables.namespaceLabels" .key }}
{{- $among := printf "(%s && variables.namespaceLabels['%s'] in ['%s'])" $there .key (join "', '" .values) }}
{{- $parts = append $parts (get (dict "In" $among "NotIn" (printf "!%s" $among) "Exists" (printf "(%s)" $there) "DoesNotExist" (printf "!(%s)" $there)) .operator) }}
{{- end }}
{{- join " && " $parts }}
{{- end }}

{{- /* CEL: an entry of the mutating webhook configuration calls for this pod; the same words as the entries themselves. */}}
{{- define "kagenti.seenCondition" -}}
{{- get (dict
  "label" "!variables.excluded && variables.labelled"
  "cr" "!variables.excluded && variables.enrolled"
  "both" "!variables.excluded && (variables.labelled || variables.enrolled)"
) .Values.webhook.triggerMode }}
{{- end }}
